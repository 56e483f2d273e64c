package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/intake"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/listen"
	"github.com/palisade-security/palisade/store/journal"
)

// The bounds of the intake's sockets.
const (
	intakeHead      = 10 * time.Second
	intakeRead      = 30 * time.Second
	intakeIdle      = 2 * time.Minute
	intakeHeadBytes = 16 << 10
	intakeOpen      = 1024 // connections
	intakePerHost   = 256
	intakeDrain     = 5 * time.Second
)

// taking is the intake of log records at work.
type taking struct {
	in    *intake.Intake
	fixed any                       // what is set once, when it starts
	files *keyring.FileCertificates // nil: local ones
	roots *x509.CertPool            // of senders; nil: none
	mesh  *peer.Verifier            // of services of the fleet; nil: no mesh
}

// fixedOf is what of an intake is in force until the next start. Whose records are taken, and how many, changes at once.
func fixedOf(r *model.ResolvedIntake) any {
	if r == nil {
		return nil
	}
	fixed := *r
	fixed.Sources = nil
	for _, s := range r.Sources {
		if len(s.Files) > 0 || s.Journal {
			fixed.Sources = append(fixed.Sources, model.ResolvedSource{Name: s.Name, Source: model.Source{Files: s.Files, Format: s.Format, Journal: s.Journal}})
		}
	}
	return fixed
}

// takeIn opens the intake that a snapshot declares, or tells the open one whose records it takes.
func (e *edge) takeIn(snap *model.Snapshot) error {
	declared := snap.Intake
	if e.intake == nil {
		if declared == nil {
			return nil
		}
		if err := e.openIntake(snap); err != nil {
			return fmt.Errorf("intake: %w", err)
		}
	}
	var list []intake.Source
	if declared != nil {
		for _, s := range declared.Sources {
			list = append(list, intake.Source{
				Name: s.Name, Service: s.Service, Keys: s.Keys, Certificates: s.Certificates, Records: float64(s.Records), Bytes: float64(s.Bytes),
			})
		}
	}
	e.intake.in.Declare(list)
	return nil
}

// openIntake binds what is declared and begins to serve.
func (e *edge) openIntake(snap *model.Snapshot) error {
	declared := snap.Intake
	t := &taking{fixed: fixedOf(declared)}
	counts := e.metrics.Intake()
	t.in = intake.New(intake.Options{
		Limits: intake.Limits{Body: int64(declared.Body), Record: int(declared.Record)},
		Take:   e.recorder.Take, Count: counts.Took, Turned: counts.Refused, Refused: e.refusedRecords, Certificate: t.certificate,
	})
	if len(declared.Roots) > 0 {
		t.roots = x509.NewCertPool()
		t.roots.AppendCertsFromPEM(declared.Roots)
	}
	switch {
	case e.remote != nil:
		t.mesh = e.remote.Ground().Verifier
	case e.mesh != nil:
		t.mesh = e.mesh.Verifier()
	}
	if err := e.serveIntake(t, declared); err != nil {
		return err
	}
	if err := e.collect(t.in, declared); err != nil {
		return err
	}
	e.group.Go(func() error { return t.in.Run(e.ctx) })
	e.intake = t
	return nil
}

// serveIntake opens the sockets of an intake, all or none.
func (e *edge) serveIntake(t *taking, declared *model.ResolvedIntake) error {
	if declared.HTTP == "" && declared.Syslog == "" {
		return nil
	}
	certs, err := e.certificates(model.Listener{TLS: declared.TLS}, []string{"localhost", "127.0.0.1", "::1"})
	if err != nil {
		return err
	}
	t.files, _ = certs.(*keyring.FileCertificates)
	config := listen.Config(declared.TLS.MinVersion == "1.3", certs.GetCertificate)
	config.ClientAuth = tls.RequestClientCert // whoever has none shows a key; certificate verifies
	web, err := e.openSocket("http", declared.HTTP, config)
	if err != nil {
		return err
	}
	config = config.Clone()
	config.NextProtos = nil
	config.ClientAuth = tls.RequireAnyClientCert
	syslog, err := e.openSocket("syslog", declared.Syslog, config)
	if err != nil {
		if web != nil {
			err = errors.Join(err, web.Close())
		}
		return err
	}
	if web != nil {
		e.serveHTTPS(web, t.in.Handler())
	}
	if syslog != nil {
		e.group.Go(func() error { return t.in.ServeSyslog(e.ctx, syslog) })
	}
	return nil
}

// openSocket binds one of the addresses; nil if it is not declared.
func (e *edge) openSocket(key, address string, config *tls.Config) (net.Listener, error) {
	if address == "" {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(e.ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; stop what listens there, or choose another port", key, err)
	}
	return tls.NewListener(listen.Bounded(ln, intakeOpen, intakePerHost), config), nil
}

// serveHTTPS serves until the gateway ends.
func (e *edge) serveHTTPS(ln net.Listener, h http.Handler) {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: intakeHead, ReadTimeout: intakeRead, IdleTimeout: intakeIdle, MaxHeaderBytes: intakeHeadBytes,
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	e.group.Go(func() error {
		if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving the intake: %w", err)
		}
		return nil
	})
	e.group.Go(func() error {
		<-e.ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), intakeDrain)
		defer cancel()
		if s.Shutdown(drain) != nil {
			_ = s.Close() // who is still there after that time is cut off
		}
		return nil
	})
}

// certificate returns what a sender has shown if an authority that is declared has signed it, or the fleet's own.
func (t *taking) certificate(state *tls.ConnectionState) *x509.Certificate {
	leaf := state.PeerCertificates[0]
	if t.mesh != nil {
		if _, err := t.mesh.Verify(state.PeerCertificates, peer.AsClient, time.Now()); err == nil {
			return leaf
		}
	}
	if t.roots == nil {
		return nil
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: t.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return nil
	}
	return leaf
}

// refusedRecords makes an event of log records that were refused.
func (e *edge) refusedRecords(r intake.Refusal) {
	e.recorder.Act(e.ctx, &event.Event{Client: r.Address, Act: &event.Act{
		Kind: event.KindIntake, Who: r.Source, Outcome: event.Denied, Reason: r.Reason, Text: r.Text, Proxy: model.EdgeName, Omitted: r.Omitted,
	}})
}

// Take returns when log records are safe on disk.
func (r *recorder) Take(ctx context.Context, records []*event.Event) error {
	in := r.inForce.Load()
	if in == nil {
		return errors.New("recording: no snapshot is in force yet")
	}
	buf := r.buffer()
	defer r.buffers.Put(buf)
	pending := make([]journal.Pending, 0, len(records))
	for _, e := range records {
		e.Fleet, e.Snapshot = in.fleet, in.version
		e.Redact(in.redactor)
		*buf = event.AppendJSON((*buf)[:0], e)
		p, err := r.journal.Enqueue(ctx, *buf)
		if err != nil {
			return fmt.Errorf("recording: %w", err)
		}
		pending = append(pending, p)
	}
	for _, p := range pending {
		if err := p.Wait(ctx); err != nil {
			return fmt.Errorf("recording: %w", err)
		}
	}
	return nil
}
