package control

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/internal/local"
	"github.com/palisade-security/palisade/proxy/listen"
)

// The bounds of the HTTPS interface.
const (
	headTime  = 10 * time.Second // also for the handshake of TLS, when thousands come at once
	readTime  = 30 * time.Second
	idleTime  = 2 * time.Minute
	headBytes = 32 << 10
	maxModel  = 64 << 20 // bytes of a model as JSON
	drainTime = 5 * time.Second
)

// listen serves proxies and administrators over HTTPS, and administrators of this host over a socket.
func (c *Control) listen(ctx context.Context, g *errgroup.Group) error {
	config := peer.ServerConfig(c.own.certificate, c.verifier, peer.AnyIn(c.domain))
	// Who enrols has no certificate yet, and administrators show a token. What needs one asks for it.
	verify := config.VerifyConnection
	config.ClientAuth = tls.RequestClientCert
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return nil
		}
		err := verify(state)
		var refusal *peer.Refusal
		if errors.As(err, &refusal) && refusal.Reason == peer.Revoked {
			return nil // who is revoked is told so by what it asks for, and not by a broken connection
		}
		return err
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", c.o.Listen)
	if err != nil {
		return fmt.Errorf("%w; stop what listens there, or choose another place with mesh.control.listen or --listen", err)
	}
	c.listening = ln.Addr().String()
	mux := http.NewServeMux()
	c.proxies(mux)
	c.administrators(mux, c.byToken)
	c.serve(ctx, g, tls.NewListener(listen.Bounded(ln, mostConnections, mostConnections/ofOneAddress), config), mux, nil)
	if c.o.Socket == "" {
		return nil
	}
	socket, err := local.Listen(ctx, c.o.Socket)
	if err != nil {
		return err
	}
	mux = http.NewServeMux()
	c.administrators(mux, bySocket)
	mux.HandleFunc("GET "+wire.BundlePath, func(w http.ResponseWriter, r *http.Request) {
		data, err := c.bundle().Marshal()
		c.answer(r.Context(), w, json.RawMessage(data), err)
	})
	c.serve(ctx, g, socket, mux, local.WithPeer)
	return nil
}

// serve runs one HTTP server until ctx ends.
func (c *Control) serve(ctx context.Context, g *errgroup.Group, ln net.Listener, h http.Handler, each func(context.Context, net.Conn) context.Context) {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: headTime, ReadTimeout: readTime, IdleTimeout: idleTime, MaxHeaderBytes: headBytes,
		BaseContext: func(net.Listener) context.Context { return ctx }, ConnContext: each,
		ErrorLog: slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
	}
	g.Go(func() error {
		if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if s.Shutdown(drain) != nil {
			_ = s.Close() // who is still there after that time is cut off
		}
		return nil
	})
}

// proxies mounts what proxies ask.
func (c *Control) proxies(mux *http.ServeMux) {
	under := new(slots)
	bounded := func(pattern string, h http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			from := sourceOf(r)
			if err := under.take(from, time.Now()); err != nil {
				c.answer(r.Context(), w, nil, err)
				return
			}
			defer under.give(from)
			done, err := hurry(w)
			if err != nil {
				c.answer(r.Context(), w, nil, err)
				return
			}
			defer done()
			h(w, r)
		})
	}
	mount := func(pattern string, h func(w http.ResponseWriter, r *http.Request) (any, error)) {
		bounded(pattern, func(w http.ResponseWriter, r *http.Request) {
			out, err := h(w, r)
			if isDenied(err) {
				c.counts.refused.Add(1)
			}
			c.answer(r.Context(), w, out, err)
		})
	}
	if c.o.Ledger != nil {
		bounded("GET "+wire.LedgerPath, http.StripPrefix(wire.LedgerPath, c.o.Ledger).ServeHTTP)
	}
	mount("GET "+wire.BundlePath, func(http.ResponseWriter, *http.Request) (any, error) {
		data, err := c.bundle().Marshal()
		return json.RawMessage(data), err
	})
	mount("POST "+wire.ChallengePath, func(http.ResponseWriter, *http.Request) (any, error) { return c.questions.ask(time.Now()), nil })
	mount("POST "+wire.EnrolPath, func(w http.ResponseWriter, r *http.Request) (any, error) {
		q, err := read[wire.EnrolRequest](w, r, wire.MaxRequest)
		if err != nil {
			return nil, err
		}
		answer, err := c.enrol(r.Context(), q)
		if err != nil {
			c.stranger(r.Context(), Event{Kind: "enrolment-denied", Who: r.RemoteAddr, Object: q.Name, Outcome: outcomeDenied, Text: err.Error()})
		}
		return answer, err
	})
	mount("POST "+wire.MeetPath, func(w http.ResponseWriter, r *http.Request) (any, error) {
		p, err := c.client(r)
		if err != nil {
			return nil, err
		}
		q, err := read[wire.MeetRequest](w, r, wire.MaxRequest)
		if err != nil {
			return nil, err
		}
		answer, err := c.meet(r.Context(), p, q)
		if isDenied(err) {
			c.stranger(r.Context(), Event{Kind: "enrolment-denied", Who: p.ID.String(), Object: q.Node, Outcome: outcomeDenied, Text: err.Error()})
		}
		return answer, err
	})
	mount("POST "+wire.RenewPath, func(w http.ResponseWriter, r *http.Request) (any, error) {
		p, err := c.client(r)
		if err != nil {
			return nil, err
		}
		q, err := read[wire.SignRequest](w, r, wire.MaxRequest)
		if err != nil {
			return nil, err
		}
		chain, err := c.renew(r.Context(), p, q.CSR)
		if err != nil {
			return nil, err
		}
		return c.welcome(chain)
	})
	mount("POST "+wire.JWTPath, func(w http.ResponseWriter, r *http.Request) (any, error) {
		p, err := c.client(r)
		if err != nil {
			return nil, err
		}
		q, err := read[wire.JWTRequest](w, r, wire.MaxRequest)
		if err != nil {
			return nil, err
		}
		token, err := c.jwt(r.Context(), p.ID.String(), q.Audience)
		return wire.JWTAnswer{Token: token}, err
	})
	mount("POST "+wire.ReportPath, func(w http.ResponseWriter, r *http.Request) (any, error) {
		p, err := c.client(r)
		if err != nil {
			return nil, err
		}
		q, err := read[wire.Report](w, r, wire.MaxRequest)
		if err != nil {
			return nil, err
		}
		return c.hear(r.Context(), p.ID.String(), q)
	})
}

// client returns the proxy at the other end. It is verified for each request: a connection may outlive a revocation.
func (c *Control) client(r *http.Request) (peer.Peer, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return peer.Peer{}, fmt.Errorf("%w: an SVID must be shown", errUnknown)
	}
	p, err := c.verifier.Verify(r.TLS.PeerCertificates, peer.AsClient, time.Now())
	if err != nil {
		return peer.Peer{}, fmt.Errorf("%w: %w", errDenied, err)
	}
	return p, nil
}

// read reads a JSON body.
func read[T any](w http.ResponseWriter, r *http.Request, most int64) (out T, err error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		return out, fmt.Errorf("%w: the body cannot be read: %w", errWrong, err)
	}
	return out, nil
}

// errUnknown refuses whoever has not said who it is.
var errUnknown = errors.New("unauthenticated")

func isDenied(err error) bool { return errors.Is(err, errDenied) || errors.Is(err, errUnknown) }

// problem turns an error into what the asker is told. What is not the asker's business stays in the log.
func problem(err error) *admin.Problem {
	var told *admin.Problem
	var wrong *bus.Refusal
	var busy *busyError
	p := &admin.Problem{Type: "about:blank"}
	switch {
	case errors.As(err, &told):
		return told
	case errors.Is(err, errUnknown):
		p.Status, p.Detail = http.StatusUnauthorized, err.Error()
	case errors.Is(err, errDenied):
		p.Status = http.StatusForbidden
	case errors.Is(err, errWrong):
		p.Status, p.Detail = http.StatusBadRequest, plainly(err)
	case errors.As(err, &wrong):
		p.Status, p.Detail = http.StatusBadRequest, wrong.Text
	case errors.Is(err, errConflict):
		p.Status, p.Detail = http.StatusConflict, plainly(err)
	case errors.As(err, &busy):
		p.Status, p.Detail, p.After = http.StatusServiceUnavailable, busy.Error(), busy.after
	case errors.Is(err, authority.ErrNoIssuer), errors.Is(err, errNobodyLeads), errors.Is(err, errSucceeded):
		p.Status, p.Detail = http.StatusServiceUnavailable, err.Error()
	default:
		p.Status = http.StatusInternalServerError
	}
	p.Title = http.StatusText(p.Status)
	return p
}

// plainly is an error without the word that sorts it.
func plainly(err error) string {
	text := err.Error()
	for _, kind := range []error{errWrong, errConflict, errDenied} {
		text = strings.TrimPrefix(text, kind.Error()+": ")
	}
	return text
}

// answer writes what came of a request.
func (c *Control) answer(ctx context.Context, w http.ResponseWriter, out any, err error) {
	status, kind := http.StatusOK, "application/json"
	if err != nil {
		p := problem(err)
		if p.Status == http.StatusInternalServerError && ctx.Err() == nil { // else nobody waits for it
			c.log.ErrorContext(ctx, "request failed", "error", err)
		}
		if p.After > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(p.After.Seconds())))
		}
		out, status, kind = p, p.Status, "application/problem+json"
	}
	data, err := json.Marshal(out)
	if err != nil {
		c.log.ErrorContext(ctx, "answer not written", "error", err)
		status, data = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(data) // an asker that is gone needs no answer
}
