package event

import "time"

// Event is the record of one request, of one connection that is no HTTP, of one act, or of one log record of others: who asked for what, what each
// stage decided, what came of it. It is compact inside and written in a class of OCSF on the outside. Header and query values in it have been redacted.
type Event struct {
	Time     time.Time // when the head was complete
	ID       string    // request id, UUIDv7
	TraceID  string    // W3C trace id, 32 hex digits
	SpanID   string    // 16 hex digits
	Fleet    string
	Snapshot string // version of the snapshot that decided
	Listener string
	Side     Side // where a request was seen within the mesh; unknown: at the edge

	Method    string
	Scheme    string
	Host      string
	Path      string
	Query     string
	Proto     string
	UserAgent string
	Referer   string
	Headers   []Header // request headers worth keeping, redacted

	Client     string // client address, behind trusted proxies
	ClientPort int
	Peer       string // address that connected
	TLSVersion string
	TLSCipher  string
	TLSGroup   string
	TLSServer  string

	User     *User
	Workload string // SPIFFE ID of the service that asks

	Route    string // route id
	Service  string
	Template string

	Open    bool   // written before forwarding (audit strict); a record with the same id closes it
	Allowed bool   // what the gateway decided
	DryRun  bool   // allowed only because a refusing stage was in dry run
	Status  int    // status the client got; 0: none
	Problem string // slug of the problem document, if the gateway answered
	Drift   bool   // the API document does not declare what was asked
	Aborted string // why the exchange ended early: "client", "upstream", "timeout", ""; of a connection also "drain", "rules", "identity"
	Trail   []Stage

	BytesIn  int64 // request body
	BytesOut int64 // answer body
	Took     time.Duration

	Upstream       string // host:port
	UpstreamStatus int
	UpstreamTook   time.Duration // until the answer's head
	UpstreamReused bool
	Attempts       int

	Connection *Connection // set if this is a connection
	Act        *Act        // set if this is an act
	Log        *Log        // set if this is a log record; without all three it is a request
}

// Header is a name and a redacted value.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// User is the end user as recorded: no token.
type User struct {
	Provider string   `json:"provider"`
	Issuer   string   `json:"issuer,omitempty"`
	Subject  string   `json:"subject"`
	Roles    []string `json:"roles,omitempty"`
	ClientID string   `json:"client_id,omitempty"`
	TokenID  string   `json:"token_id,omitempty"`

	Attributes *Attributes `json:"attributes,omitempty"` // nil in records of versions that did not write them
}
