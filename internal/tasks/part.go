package tasks

import (
	"fmt"
	"strings"
)

// Part is a range of one table's rows. Ranges are half-open, the first and the
// last are open outward, and rows whose key is NULL have a part of their own,
// so the parts of a table hold every row exactly once whatever the bounds are.
// The zero Part is the whole table.
type Part struct {
	Index int     `json:"index"`          // counted from 1
	Key   string  `json:"key,omitempty"`  // column name; "" for a range of block numbers
	From  *string `json:"from,omitempty"` // inclusive lower bound, nil if open
	To    *string `json:"to,omitempty"`   // exclusive upper bound, nil if open
	Null  bool    `json:"null,omitempty"` // the rows whose key is NULL
}

// IsWhole reports whether the part is the whole table.
func (p Part) IsWhole() bool { return p.Index == 0 }

// Predicate returns the SQL condition that selects the part's rows.
func (p Part) Predicate() string {
	if p.Null {
		return QuoteIdent(p.Key) + " IS NULL"
	}
	column, literal := "ctid", func(block string) string { return fmt.Sprintf("'(%s,0)'::pg_catalog.tid", block) }
	if p.Key != "" {
		column, literal = QuoteIdent(p.Key), QuoteLiteral
	}
	var conditions []string
	if p.From != nil {
		conditions = append(conditions, fmt.Sprintf("%s >= %s", column, literal(*p.From)))
	}
	if p.To != nil {
		conditions = append(conditions, fmt.Sprintf("%s < %s", column, literal(*p.To)))
	}
	if len(conditions) == 0 {
		// Open on both sides: the single range of a nullable key.
		if p.Key != "" {
			return column + " IS NOT NULL"
		}
		return "true"
	}
	return strings.Join(conditions, " AND ")
}

// Ranges returns the parts that the ascending bounds cut a table into:
// len(bounds)+1 ranges, and one for NULL keys if the key is nullable. Bounds
// are block numbers if key is "", otherwise key values in their text form;
// equal neighbours are merged, so that no part is empty by construction.
func Ranges(key string, bounds []string, nullable bool) []Part {
	var parts []Part
	var from *string
	for _, b := range bounds {
		if from != nil && *from == b {
			continue
		}
		parts = append(parts, Part{Index: len(parts) + 1, Key: key, From: from, To: &b})
		from = &b
	}
	parts = append(parts, Part{Index: len(parts) + 1, Key: key, From: from})
	if nullable && key != "" {
		parts = append(parts, Part{Index: len(parts) + 1, Key: key, Null: true})
	}
	return parts
}
