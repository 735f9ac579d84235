-- Roles of the museum. They belong to the cluster, so both servers need them;
-- runs any number of times, also at once.
SELECT pg_advisory_lock(7364921);
DO $$
DECLARE
    r text;
BEGIN
    FOREACH r IN ARRAY ARRAY['museum_owner', 'museum_reader', 'museum_writer', 'museum "Odd" röle\''%'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', r);
        END IF;
    END LOOP;
END $$;
SELECT pg_advisory_unlock(7364921);
