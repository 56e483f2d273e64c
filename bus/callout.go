package bus

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Identity is a proven one.
type Identity struct {
	ID      string    // SPIFFE ID
	Mark    string    // what else the Operator is to know of who has it, without spaces; may be empty
	Expires time.Time // of what proves it; zero: it holds for as long as the connection
}

// name is what servers call the holder of an identity; parseName reads it.
func (i Identity) name() string {
	if i.Mark == "" {
		return i.ID
	}
	return i.ID + " " + i.Mark
}

func parseName(name string) (id, mark string) {
	id, mark, _ = strings.Cut(name, " ")
	return id, mark
}

// Decision is what a callout decided about one connection.
type Decision struct {
	ID      string // "" if it proved none
	Server  string // name of the server it connects to
	Address string // where it comes from
	Name    string // what it calls itself
	Denied  error  // nil if it may connect
}

// CalloutOptions are those of a Callout.
type CalloutOptions struct {
	Keys *Keys
	// Certificate verifies a chain, leaf first, against the trust bundles of this moment. The leaf's SPIFFE ID
	// must be what it returns, with a mark (Identity.Mark). Nil: certificates prove nothing.
	Certificate func(chain []*x509.Certificate) (id, mark string, err error)
	// Token verifies a JWT-SVID that was given as NATS token. Nil: tokens prove nothing.
	Token func(ctx context.Context, token string) (Identity, error)
	// Permit tells what an identity may do; false: it may not connect. A revoked identity may not.
	Permit func(id string) (Permissions, bool)
	// Session bounds how long a connection lives before its identity is proven again, default 1 h; negative: no
	// bound. Each gets between nine and ten tenths of it, never more than its certificate or token.
	Session time.Duration
	// Decided hears of each decision. Nil: nobody does.
	Decided func(context.Context, Decision)
	// Ready is called once, when servers can ask. Nil: nobody wants to know.
	Ready func()
	Log   *slog.Logger
}

const (
	defaultSession = time.Hour
	calloutSubject = "$SYS.REQ.USER.AUTH"
	headerCurve    = "Nats-Server-Xkey"
	calloutWorkers = 16
	calloutWaiting = 4096
	calloutTime    = 4 * time.Second // that a request may have waited; the server waits for five
	maxCallout     = 1 << 20         // bytes of a request
)

// Authorizer answers servers that ask who connects and what for (NATS ADR-26). Whatever it cannot decide
// is refused. One serves an embedded server, a cluster, or a broker of the fleet that has ServerConfig of the same keys.
// Several may run; a server asks one of them.
type Authorizer struct{ options CalloutOptions }

// NewAuthorizer checks options.
func NewAuthorizer(o CalloutOptions) (*Authorizer, error) {
	if o.Keys == nil || o.Permit == nil || o.Log == nil || o.Certificate == nil && o.Token == nil {
		return nil, errors.New("making a callout: it needs keys, permissions, a log, and a way to prove identities")
	}
	if o.Session == 0 {
		o.Session = defaultSession
	}
	if o.Decided == nil {
		o.Decided = func(context.Context, Decision) {}
	}
	return &Authorizer{o}, nil
}

// Run answers until the context ends and returns why. The client has the role Callout.
func (a *Authorizer) Run(ctx context.Context, client *Client) error {
	work := make(chan waiting, calloutWaiting)
	sub, err := client.nc.QueueSubscribe(calloutSubject, "palisade", func(m *nats.Msg) {
		select {
		case work <- waiting{m, time.Now()}:
		default: // its connection is refused when the server's time is over
		}
	})
	if err != nil {
		return fmt.Errorf("answering who may connect: %w", err)
	}
	if a.options.Ready != nil {
		a.options.Ready()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var workers sync.WaitGroup
	for range calloutWorkers {
		workers.Go(func() {
			for {
				select {
				case m := <-work:
					if time.Since(m.since) < calloutTime { // else nobody waits for it any more
						a.serve(ctx, m.Msg)
					}
				case <-ctx.Done():
					return
				}
			}
		})
	}
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-client.closed:
		err = fmt.Errorf("answering who may connect: %w", ErrClosed)
	}
	cancel()
	workers.Wait()
	_ = sub.Unsubscribe() // fails only if the connection is gone, and the subscription with it
	return err
}

// serve answers one request. What cannot be read gets no answer; its connection is refused when the server's time
// is over.
func (a *Authorizer) serve(ctx context.Context, m *nats.Msg) {
	request, err := a.open(m.Data, m.Header.Get(headerCurve))
	if err != nil {
		a.options.Log.Warn("bus callout not understood", "error", err)
		return
	}
	decision, user := a.decide(ctx, request, time.Now())
	a.options.Decided(ctx, decision)
	answer, err := a.answer(request, user)
	if err == nil {
		err = m.Respond(answer)
	}
	if err != nil {
		a.options.Log.Warn("bus callout not answered", "error", err)
	}
}

// open decrypts and reads a request. Servers of ours always encrypt, since a token may be in it.
func (a *Authorizer) open(data []byte, curve string) (*jwt.AuthorizationRequestClaims, error) {
	if len(data) > maxCallout {
		return nil, ErrTooLarge
	}
	if !nkeys.IsValidPublicCurveKey(curve) {
		return nil, errors.New("it is not encrypted")
	}
	plain, err := a.options.Keys.curve.Open(data, curve)
	if err != nil {
		return nil, errors.New("it cannot be decrypted")
	}
	return readRequest(plain, curve)
}

// readRequest parses what a server says about a connection and checks that one server says all of it.
func readRequest(plain []byte, curve string) (*jwt.AuthorizationRequestClaims, error) {
	request, err := jwt.DecodeAuthorizationRequestClaims(string(plain)) // verifies the signature of its issuer
	if err != nil {
		return nil, errors.New("it is no signed request")
	}
	switch {
	case request.Issuer != request.Server.ID || !nkeys.IsValidPublicServerKey(request.Issuer):
		return nil, errors.New("another than the server signed it")
	case request.Server.XKey != curve:
		return nil, errors.New("another than the server encrypted it")
	case !nkeys.IsValidPublicUserKey(request.UserNkey):
		return nil, errors.New("it names no user")
	}
	return request, nil
}

// decide returns the decision and, if the connection may be, what the server is to make of it.
func (a *Authorizer) decide(ctx context.Context, r *jwt.AuthorizationRequestClaims, now time.Time) (Decision, *jwt.UserClaims) {
	d := Decision{Server: r.Server.Name, Address: r.ClientInformation.Host, Name: r.ConnectOptions.Name}
	who, err := a.prove(ctx, r, now)
	if err != nil {
		d.Denied = err
		return d, nil
	}
	d.ID = who.ID
	permissions, known := a.options.Permit(who.ID)
	if !known {
		d.Denied = errors.New("this identity may not connect")
		return d, nil
	}
	user := jwt.NewUserClaims(r.UserNkey)
	if user.Permissions, err = permissions.claims(who.ID); err != nil {
		d.Denied = err
		return d, nil
	}
	user.Name, user.Audience = who.name(), fleetAccount
	user.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket, jwt.ConnectionTypeInProcess}
	expires := a.expires(who, now)
	if expires.IsZero() {
		return d, user
	}
	if user.Expires = expires.Unix(); user.Expires <= now.Unix() {
		d.Denied = errors.New("what proves the identity has expired")
		return d, nil
	}
	return d, user
}

// expires is when a connection must prove its identity again; zero: never.
func (a *Authorizer) expires(who Identity, now time.Time) time.Time {
	session := a.options.Session
	if session < 0 {
		return who.Expires
	}
	session -= rand.N(session/10 + 1) //nolint:gosec // G404: jitter, so that those that came together do not come back together
	end := now.Add(session)
	if !who.Expires.IsZero() && who.Expires.Before(end) {
		return who.Expires
	}
	return end
}

// answer signs and encrypts: the user, or a refusal without reasons.
func (a *Authorizer) answer(r *jwt.AuthorizationRequestClaims, user *jwt.UserClaims) ([]byte, error) {
	answer := jwt.NewAuthorizationResponseClaims(r.UserNkey)
	answer.Audience = r.Server.ID
	if user == nil {
		answer.Error = "not permitted"
	} else {
		token, err := user.Encode(a.options.Keys.issuer)
		if err != nil {
			return nil, err
		}
		answer.Jwt = token
	}
	token, err := answer.Encode(a.options.Keys.issuer)
	if err != nil {
		return nil, err
	}
	return a.options.Keys.curve.Seal([]byte(token), r.Server.XKey)
}
