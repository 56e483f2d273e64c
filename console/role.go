package console

// Role is what somebody may do here; the words and their order are those of control.
type Role string

// The roles; each may do what those before it may.
const (
	Viewer   Role = "viewer"   // look
	Operator Role = "operator" // change what runs
	Admin    Role = "admin"
)

func (r Role) rank() int {
	switch r {
	case Viewer:
		return 1
	case Operator:
		return 2
	case Admin:
		return 3
	}
	return 0
}

// Permits tells whether a role may do what another may.
func (r Role) Permits(needed Role) bool { return r.rank() > 0 && r.rank() >= needed.rank() }
