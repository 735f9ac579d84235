package tasks

// Step is something that the planner itself does on the target before there are
// tasks: what belongs to the cluster, or to the database as a whole. It may be
// done again.
type Step struct {
	Label string `json:"label"` // for logs and errors: the statement, but for secrets
	SQL   string `json:"-"`     // may hold a password's verifier
	May   bool   `json:"may"`   // fail, which is worth a warning
}
