package check

import "context"

// checkProxy refuses a pooler between us and a server. Behind one that pools
// transactions, session settings, snapshots and advisory locks end up in
// somebody else's session. A pooler makes up the process id that it reports at
// connecting, so that differs from the server's.
func checkProxy(ctx context.Context, p *probe) (Findings, error) {
	var found Findings
	for _, s := range []*server{p.source, p.target} {
		var pid uint32
		if err := queryRow(ctx, s.Conn, "SELECT pg_catalog.pg_backend_pid()", &pid); err != nil {
			return nil, err
		}
		if pid != s.PgConn().PID() {
			cfg := s.Config()
			found = append(found, blocker("proxy",
				"connect to the server itself: another host or port (PgBouncer mostly listens on 6432, the server on 5432); a pooled address of a managed service has a direct one beside it",
				"the connection to the %s at %s goes through a connection pooler: the process id that it reported is not the server's", s.place(), address(cfg.Host, cfg.Port)))
		}
	}
	return found, nil
}
