package check

import "context"

// checkSameDatabase refuses a copy of a database onto itself.
func checkSameDatabase(_ context.Context, p *probe) (Findings, error) {
	if p.source.fingerprint != p.target.fingerprint {
		return nil, nil
	}
	return Findings{blocker("same-database", "give target.uri the address of another server, or the name of another database",
		"source and target are the same database: %q of the cluster with system identifier %s", p.source.Facts.Database, p.source.cluster())}, nil
}
