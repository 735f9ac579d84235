package differ_test

import (
	"fmt"
	"strings"
)

// ability is what a type can be used for.
type ability int

const (
	ordered ability = 1 << iota // has a default B-tree class
	hashed                      // and a hash class
	gin
	gist
	spgist
	brin
	textual // has upper() and a collation
)

// kind is a type that a column may have.
type kind struct {
	name   string // as in SQL
	values []string
	can    ability
	base   string // the built-in type of a domain
}

func (k kind) is(a ability) bool { return k.can&a == a }

// drawTypes chooses from the built-in types and makes some: enums, composites,
// domains and ranges.
func (w *world) drawTypes() {
	w.kinds = some(w, w.between(8, 20), builtinKinds)
	for range w.between(1, 2) {
		w.drawEnum()
	}
	w.drawComposite()
	w.drawDomains()
	w.drawRange()
	if array := pick(w, w.kinds...); !strings.Contains(array.name, "[]") && !strings.Contains(array.name, "(") {
		w.addArray(array)
	}
}

func (w *world) drawEnum() {
	e := kind{name: w.in("e"), can: ordered | hashed}
	labels := some(w, w.between(2, 5), []string{"'sad'", "'ok'", "'it''s \"odd\"\\, {braces}'", "''", "' '", "'NULL'", "'ünï'", "'new\nline'"})
	w.do("CREATE TYPE %s AS ENUM (%s)", e.name, strings.Join(labels, ", "))
	e.values = labels
	if w.chance(50) {
		w.do("ALTER TYPE %s ADD VALUE 'late' BEFORE %s", e.name, labels[0])
		e.values = append(e.values, "'late'")
	}
	w.kinds = append(w.kinds, e)
}

// drawComposite makes a type of two or three attributes.
func (w *world) drawComposite() {
	c := kind{name: w.in("c")}
	parts := some(w, w.between(1, 3), w.kinds)
	attributes := make([]string, len(parts))
	for i, p := range parts {
		attributes[i] = w.name("a") + " " + p.name
	}
	w.do("CREATE TYPE %s AS (%s)", c.name, strings.Join(attributes, ", "))
	for range 4 {
		fields := make([]string, len(parts))
		for i, p := range parts {
			fields[i] = w.value(p, 20)
		}
		c.values = append(c.values, fmt.Sprintf("ROW(%s)::%s", strings.Join(fields, ", "), c.name))
	}
	w.kinds = append(w.kinds, c)
}

// drawDomains makes a domain over an integer, one over a text, and sometimes one
// over a domain, with checks that hold and with one that is not validated.
func (w *world) drawDomains() {
	number := kind{name: w.in("d"), values: []string{"1", "2", "77", "999"}, can: ordered | hashed | gist | brin, base: "int"}
	w.do("CREATE DOMAIN %s AS int %s CONSTRAINT %s CHECK (VALUE > 0)", number.name, pick(w, "", "DEFAULT 7"), w.name("k"))
	if w.chance(50) {
		w.do("ALTER DOMAIN %s ADD CONSTRAINT %s CHECK (VALUE > 1) NOT VALID", number.name, w.name("k"))
		number.values = number.values[1:]
	}
	word := kind{name: w.in("d"), values: []string{"'a@b'", "'@'", "'ü@\n'"}, can: ordered | hashed | textual, base: "text"}
	w.do("CREATE DOMAIN %s AS text COLLATE \"C\" CHECK (VALUE ~ '@')", word.name)
	w.kinds = append(w.kinds, number, word)
	if w.chance(50) {
		small := kind{name: w.in("d"), values: []string{"2", "77"}, can: number.can, base: "int"}
		w.do("CREATE DOMAIN %s AS %s CONSTRAINT %s CHECK (VALUE < 100)", small.name, number.name, w.name("k"))
		w.kinds = append(w.kinds, small)
	}
}

func (w *world) drawRange() {
	r := kind{name: w.in("r"), can: ordered | hashed | gist}
	multirange := ""
	// The server itself cuts the name that it makes up within a letter, which nobody can restore.
	if w.major >= 14 && (strings.Contains(r.name, "ä") || w.chance(50)) {
		multirange = ", multirange_type_name = " + w.name("m")
	}
	if w.chance(50) {
		w.do("CREATE TYPE %s AS RANGE (subtype = float8%s)", r.name, multirange)
		r.values = []string{"'empty'", "'[1,2.5)'", "'(,0]'", "'[-Infinity,NaN)'"}
	} else {
		w.do("CREATE TYPE %s AS RANGE (subtype = text, collation = \"C\"%s)", r.name, multirange)
		r.values = []string{"'empty'", `'["a,b","c\"d")'`, "'(,z]'", `'["",]'`}
	}
	w.kinds = append(w.kinds, r)
}

// addArray makes the array type of a kind one that columns may have.
func (w *world) addArray(of kind) {
	a := kind{name: of.name + "[]", can: of.can & (ordered | hashed), values: []string{"'{}'"}}
	for range 3 {
		elements := make([]string, w.between(1, 4))
		for i := range elements {
			elements[i] = w.value(of, 25)
		}
		a.values = append(a.values, fmt.Sprintf("ARRAY[%s]::%s", strings.Join(elements, ", "), a.name))
	}
	w.kinds = append(w.kinds, a)
}
