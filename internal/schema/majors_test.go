package schema_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestDifferencesBetweenMajors makes sure that what is passed over between 14 and
// 18 hides nothing else.
func TestDifferencesBetweenMajors(t *testing.T) {
	t.Parallel()
	src := pgtest.Major(t, 14).Museum(t)
	dst := pgtest.Reference(t, src, pgtest.Major(t, 18))
	require.Len(t, compare(t, src, dst).Notes, 5)
	requireInjected(t, src, dst, []struct{ sql, want string }{
		{`CREATE OR REPLACE VIEW on_view AS SELECT id, "the ""name""" FROM museum.simple WHERE id < 101`,
			`view "museum"."on_view": options: source has check_option=local, security_barrier=true, target has none
view "museum"."on_view": query: source has SELECT "simple"."id", "simple"."the ""name""" FROM "museum"."simple" WHERE ("simple"."id" < 100);, target has SELECT "id", "the ""name""" FROM "museum"."simple" WHERE ("id" < 101);`},
		{`CREATE TABLE ruled_too (LIKE ruled); CREATE OR REPLACE VIEW with_trigger_too AS SELECT id, t FROM museum.ruled_too`,
			"table \"museum\".\"ruled_too\": only on the target\nview \"museum\".\"with_trigger_too\": only on the target"},
		{`CREATE OR REPLACE VIEW with_rule AS SELECT id, t FROM museum.ruled_too`,
			`view "museum"."with_rule": query: source has SELECT "ruled"."id", "ruled"."t" FROM "museum"."ruled";, target has SELECT "id", "t" FROM "museum"."ruled_too";`},
		{`GRANT MAINTAIN ON big TO museum_reader`, ``}, // which 14 does not have
		{`GRANT SELECT ON duplicates TO museum_reader`,
			`table "museum"."duplicates": privileges: source has default, target has "museum_reader"=SELECT/"postgres" "postgres"=DELETE,INSERT,REFERENCES,SELECT,TRIGGER,TRUNCATE,UPDATE/"postgres"`},
		{`GRANT CREATE ON SCHEMA public TO museum_reader`,
			`schema "public": privileges: source has "museum_writer"=CREATE/"postgres", target has "museum_reader"=CREATE/"postgres" "museum_writer"=CREATE/"postgres"`},
		{`ALTER TABLE plain ALTER at SET NOT NULL`, `column "museum"."plain"."at": not null: source has false, target has true`},
		{`CREATE FUNCTION of_json(json) RETURNS int LANGUAGE sql AS 'SELECT 1'`, `function "museum"."of_json"(json): only on the target`},
		{`UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'ltree'`,
			`extension "ltree": version: source has the default of the server, target has 0.9`},
		{`ALTER TABLE checked ADD CONSTRAINT unenforced CHECK (v > 1) NOT ENFORCED`, `constraint "unenforced" on "museum"."checked": only on the target`},
	})
}

// TestDifferencesOfNewerKinds is about what came with 18.
func TestDifferencesOfNewerKinds(t *testing.T) {
	t.Parallel()
	server := pgtest.Major(t, 18)
	src, dst := server.Museum(t), server.Museum(t)
	requireInjected(t, src, dst, []struct{ sql, want string }{
		{`ALTER TABLE virtual_columns ALTER v SET EXPRESSION AS (a * 4)`,
			`column "museum"."virtual_columns"."v": generated: source has ("a" * 3) VIRTUAL, target has ("a" * 4) VIRTUAL`},
		{`ALTER TABLE named_not_null RENAME CONSTRAINT a_is_there TO a_is_here`,
			"constraint \"a_is_here\" on \"museum\".\"named_not_null\": only on the target\nconstraint \"a_is_there\" on \"museum\".\"named_not_null\": only on the source"},
		{`ALTER TABLE spokes ALTER CONSTRAINT "by code" NOT ENFORCED`,
			`constraint "by code" on "museum"."spokes": definition: source has FOREIGN KEY ("f_code") REFERENCES "museum"."hub"("code") DEFERRABLE INITIALLY DEFERRED, target has FOREIGN KEY ("f_code") REFERENCES "museum"."hub"("code") DEFERRABLE INITIALLY DEFERRED NOT ENFORCED
constraint "by code" on "museum"."spokes": enforced: source has true, target has false
constraint "by code" on "museum"."spokes": validated: source has true, target has false`},
		{`ALTER PUBLICATION everything SET (publish_generated_columns = stored)`,
			`publication "everything": generated columns: source has none, target has stored`},
		{`GRANT MAINTAIN ON duplicates TO museum_reader`,
			`table "museum"."duplicates": privileges: source has default, target has "museum_reader"=MAINTAIN/"postgres" "postgres"=DELETE,INSERT,MAINTAIN,REFERENCES,SELECT,TRIGGER,TRUNCATE,UPDATE/"postgres"`},
	})
}
