package differ_test

import (
	"fmt"
	"strings"
)

// nameBytes is as long as a name can be.
const nameBytes = 63

// name draws a new name, quoted. Half of all names are plain; the others hold
// what careless quoting, folding, joining or cutting breaks.
func (w *world) name(prefix string) string {
	w.serial++
	plain := fmt.Sprintf("%s%d", prefix, w.serial)
	if w.chance(50) {
		return plain
	}
	return ident(pick(w, w.odd, w.long)(plain))
}

// odd is a name with letters that mean something to SQL, to psql, to a format or
// to pg_dump's list.
func (w *world) odd(plain string) string {
	return fmt.Sprintf(pick(w,
		"%s\"quoted\"", "it's %s; --", "%s\nline", "back\\slash %s\\", "%s.dot", "UPPER %s", "ünï 表 😀 %s", "%s %%s %%%%d", "$1 $$ %s", " %s ",
		"%s*>=2E", "tab\t%s", "{%s,b}", "%s\n-- Name: fake; Type: TABLE; Schema: public; Owner: nobody"), plain)
}

// long is a name of 63 bytes, which sometimes end within a letter of two bytes if
// something is appended.
func (w *world) long(plain string) string {
	if w.chance(50) {
		return plain + strings.Repeat("x", nameBytes-len(plain))
	}
	return plain + strings.Repeat("x", (nameBytes-len(plain))%2) + strings.Repeat("ä", (nameBytes-len(plain))/2)
}
