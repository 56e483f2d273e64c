package event

// Connection is what the event of a connection has that is no HTTP request. Of the fields of Event it uses: Time (it
// was accepted), ID, Fleet, Snapshot, Listener; Host, the destination as host:port; Client, ClientPort, Peer, the
// fields of TLS; Workload, the service that connects, and Service, the one it connects to, empty outside the fleet;
// Open, Allowed, Problem, Aborted, Trail; BytesIn, sent by the one that connects, and BytesOut; Took, until both
// directions had ended; Upstream, the address that was reached, UpstreamTook until it was, and Attempts. The others are not written.
type Connection struct {
	Side     Side
	Protocol string // how it was taken: "tcp", "tls", "http" or "nats"
}

// Side is where a connection was seen.
type Side uint8

// The sides of a connection.
const (
	SideUnknown  Side = iota
	SideInbound       // at the sidecar of the service that is called
	SideOutbound      // at the sidecar of the service that calls
	SideEgress        // at the sidecar of a service that calls outside the fleet
)

// String returns the name used in JSON and on the terminal.
func (s Side) String() string {
	switch s {
	case SideInbound:
		return "inbound"
	case SideOutbound:
		return "outbound"
	case SideEgress:
		return "egress"
	case SideUnknown:
	}
	return "unknown"
}

// MarshalText writes the side by name.
func (s Side) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a side by name; another name is an unknown side.
func (s *Side) UnmarshalText(b []byte) error {
	*s = sideNamed(string(b))
	return nil
}

func sideNamed(name string) Side {
	for _, s := range []Side{SideInbound, SideOutbound, SideEgress} {
		if s.String() == name {
			return s
		}
	}
	return SideUnknown
}
