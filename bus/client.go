package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options are those of a client. It says who it is by its certificate, by a token, or by the keys of a role.
type Options struct {
	Name   string        // shown to operators
	Server *Server       // an embedded server in this process, or
	URLs   []string      // those of a cluster: tls://host:port; any that answers will do
	Dial   Dial          // how URLs are reached, without resolving names; nil: over the network of this process
	TLS    *tls.Config   // for URLs; asked for its certificate at every connect, so that it may rotate
	ID     string        // the identity in the certificate or token; empty for a role
	Token  func() string // a JWT-SVID, asked for at every connect; nil: none
	Keys   *Keys         // of a role
	Role   Role
	Log    *slog.Logger
}

// Dial reaches an address of a server, within a few seconds.
type Dial func(network, address string) (net.Conn, error)

// Dial is that of the client library.
func (d Dial) Dial(network, address string) (net.Conn, error) { return d(network, address) }

// Client is one connection, which comes back by itself for as long as it takes. It is safe for concurrent use.
type Client struct {
	nc    *nats.Conn
	js    jetstream.JetStream
	log   *slog.Logger
	inbox string
	// writes is where values of buckets are sent to; empty: this client writes none.
	writes string

	mu      sync.Mutex
	back    chan struct{}                                // closed and replaced when the connection has come back
	deaf    time.Time                                    // since when streams do not answer; zero: they do
	heard   time.Time                                    // last answer of streams
	moves   int                                          // to other servers since then
	waiting map[string]map[*context.CancelCauseFunc]bool // by subject: exchanges that a refusal of the subject ends
	closed  chan struct{}
	// attended is closed when nobody attends the client of a role any more.
	attended chan struct{}
}

const (
	silentTries = 8 // to connect, before something is said
	// The longest pause between tries to connect. Each pause is about as long as all before it, so that who was away for a moment is
	// back in a moment, while ten thousand who wait for hours for the same server do not come all at once.
	connectMost = 20 * time.Second
)

// Connect connects and keeps trying until it succeeds or the context ends; the context has no part in what follows.
func Connect(ctx context.Context, o Options) (*Client, error) {
	who := o.ID
	if who == "" {
		who = string(o.Role)
	}
	if who == "" || o.Log == nil || (o.Server == nil) == (len(o.URLs) == 0) {
		return nil, errors.New("connecting to the bus: it needs an identity or a role, a log, and a server or its addresses")
	}
	c := &Client{
		log: o.Log, inbox: Inbox(who), back: make(chan struct{}),
		waiting: map[string]map[*context.CancelCauseFunc]bool{}, closed: make(chan struct{}), attended: make(chan struct{}),
	}
	options, err := c.options(&o)
	if err != nil {
		return nil, fmt.Errorf("connecting to the bus: %w", err)
	}
	for n := 0; ; n++ {
		if c.nc, err = options.Connect(); err == nil {
			break
		}
		if n%silentTries == silentTries-1 {
			o.Log.WarnContext(ctx, "the bus is not reached yet", "name", o.Name, "error", err)
		}
		if ended := pause(ctx, backoff(n, connectMost)); ended != nil {
			return nil, fmt.Errorf("connecting to the bus: %w; last: %w", ended, err)
		}
	}
	if c.js, err = jetstream.New(c.nc); err != nil {
		c.nc.Close()
		return nil, fmt.Errorf("connecting to the bus: %w", err)
	}
	if o.Keys == nil || o.Server != nil {
		close(c.attended) // who is no role watches, and finds out by that
	} else {
		go c.attend(context.WithoutCancel(ctx), o.Role)
	}
	return c, nil
}

// options turns ours into the library's.
func (c *Client) options(o *Options) (*nats.Options, error) {
	n := nats.GetDefaultOptions()
	pings := 2 // that may be without an answer
	if len(o.URLs) < 2 {
		pings = 8 // who has no other server to go to makes one that has much to do do more by coming again
	}
	set := []nats.Option{
		nats.Name(o.Name), nats.CustomInboxPrefix(c.inbox),
		nats.Timeout(5 * time.Second), nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(pings),
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), // a server that refuses today may permit tomorrow
		nats.ReconnectBufSize(-1), // what cannot be sent now is an error now, and tried again by whoever knows its age
		nats.CustomReconnectDelay(func(n int) time.Duration { return backoff(n, connectMost) }),
		nats.ReconnectHandler(func(*nats.Conn) { c.returned() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil: it was closed
				c.log.Info("bus connection lost", "error", err)
			}
		}),
		nats.ErrorHandler(c.failed),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
	}
	if o.Server != nil {
		set = append(set, nats.InProcessServer(o.Server.server))
	} else {
		if o.TLS != nil {
			set = append(set, nats.Secure(o.TLS))
		}
		if o.Dial != nil {
			set = append(set, nats.SetCustomDialer(o.Dial), nats.SkipHostLookup())
		}
		n.Servers = o.URLs
	}
	if o.Token != nil {
		set = append(set, nats.TokenHandler(o.Token))
	}
	if o.Keys != nil {
		pair, known := o.Keys.roles[o.Role]
		if !known {
			return nil, fmt.Errorf("there is no role %q", o.Role)
		}
		public, err := pair.PublicKey()
		if err != nil {
			return nil, err
		}
		set = append(set, nats.Nkey(public, pair.Sign))
		if o.Role == Control {
			if c.writes, err = o.Keys.writes(); err != nil {
				return nil, err
			}
		}
	}
	for _, s := range set {
		if err := s(&n); err != nil {
			return nil, err
		}
	}
	return &n, nil
}

// Hurry has a client that waits before it tries to connect again try now: what kept it from it is over.
func (c *Client) Hurry() {
	if !c.nc.IsConnected() {
		_ = c.nc.ForceReconnect() // fails only once it is closed
	}
}

// Connected tells whether there is a connection now.
func (c *Client) Connected() bool { return c.nc.IsConnected() }

// Await returns when there is a connection, and the server has taken note of everything that the client told it.
func (c *Client) Await(ctx context.Context) error {
	for {
		back := c.comesBack()
		if c.nc.IsConnected() && c.nc.FlushWithContext(ctx) == nil {
			return nil
		}
		select {
		case <-back:
		case <-c.closed:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("waiting for the bus: %w", context.Cause(ctx))
		}
	}
}

// Close lets what is under way end, at most until the context ends, and closes the connection.
func (c *Client) Close(ctx context.Context) {
	if c.nc.Drain() != nil { // also if it is not connected
		c.nc.Close()
	}
	select {
	case <-c.closed:
	case <-ctx.Done():
		c.nc.Close()
		<-c.closed
	}
	<-c.attended
}

func (c *Client) returned() {
	c.log.Info("bus connection is back")
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.back)
	c.back = make(chan struct{})
}

// comesBack returns a channel that is closed when the connection has next come back.
func (c *Client) comesBack() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.back
}

// failed hears what the server says outside of any exchange.
func (c *Client) failed(_ *nats.Conn, sub *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		if subject := refusedSubject(err); subject != "" {
			c.refuse(subject)
		}
	}
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	c.log.Warn("bus connection in trouble", "error", err, "subject", subject)
}

// The server's words, nats-server client.go: Permissions Violation for Publish to "SUBJECT".
func refusedSubject(err error) string {
	if m := regexp.MustCompile(`(?i)for publish to "([^"]*)"`).FindStringSubmatch(err.Error()); m != nil {
		return m[1]
	}
	return ""
}

func (c *Client) refuse(subject string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for end := range c.waiting[subject] {
		(*end)(ErrNotPermitted)
	}
}

// exchange sends one message and waits for its answer. The server tells that a subject is refused outside of the
// exchange; without listening for that, a refusal would look like silence.
func (c *Client) exchange(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	if size, most := int64(m.Size()), c.nc.MaxPayload(); most > 0 && size > most {
		return nil, fmt.Errorf("%w: %d bytes of at most %d", ErrTooLarge, size, most)
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	c.expect(m.Subject, &end, true)
	defer c.expect(m.Subject, &end, false)
	answer, err := c.nc.RequestMsgWithContext(ctx, m)
	switch {
	case err == nil:
		return answer, nil
	case errors.Is(context.Cause(ctx), ErrNotPermitted):
		return nil, fmt.Errorf("%w: %q", ErrNotPermitted, m.Subject)
	case errors.Is(err, nats.ErrConnectionClosed):
		return nil, ErrClosed
	}
	return nil, err
}

func (c *Client) expect(subject string, end *context.CancelCauseFunc, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.waiting[subject]
	switch {
	case on && all == nil:
		c.waiting[subject] = map[*context.CancelCauseFunc]bool{end: true}
	case on:
		all[end] = true
	default:
		delete(all, end)
		if len(all) == 0 {
			delete(c.waiting, subject)
		}
	}
}
