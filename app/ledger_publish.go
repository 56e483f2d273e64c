package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/palisade-security/palisade/app/audit"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/proxy/listen"
)

// publishedIn shows the ledger of a state directory to others.
func publishedIn(state string) http.Handler {
	at := audited(state)
	return audit.Published(func() (*audit.Place, error) { return &at, nil }, slog.Default())
}

// The bounds of strangers.
const (
	ledgerTime  = 10 * time.Second // for a request, and for its answer
	ledgerOpen  = 64               // connections
	ledgerEach  = 16               // of one address
	ledgerBytes = 16 << 10         // of a head
)

// ledgerAt is where the ledger is shown; empty: nowhere. It is the place of control, which such a fleet does not have.
func (e *edge) ledgerAt() string {
	if e.mesh == nil || e.mesh.Control() == nil {
		return ""
	}
	return e.started.Mesh.Server.Listen
}

// showLedger shows the ledger to whoever comes, as control does (mesh.control.publish_ledger), and nothing else.
func (e *edge) showLedger() error {
	at := e.ledgerAt()
	if at == "" {
		return nil
	}
	ln, err := new(net.ListenConfig).Listen(e.ctx, "tcp", at)
	if err != nil {
		return fmt.Errorf("mesh.control.listen: %w; the ledger is shown there, since mesh.control.publish_ledger says so: stop what listens there, or choose another place", err)
	}
	identity := e.mesh.Control()
	config := &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return identity() }}
	mux := http.NewServeMux()
	mux.Handle("GET "+wire.LedgerPath, http.StripPrefix(wire.LedgerPath, publishedIn(e.state)))
	e.group.Go(func() error { return serveLedger(e.ctx, ln, config, mux) })
	return nil
}

// serveLedger serves what strangers ask of a ledger, or of its witness, until ctx ends; in the clear without a config.
func serveLedger(ctx context.Context, ln net.Listener, config *tls.Config, h http.Handler) error {
	ln = listen.Bounded(ln, ledgerOpen, ledgerEach)
	if config != nil {
		config.NextProtos = []string{"h2", "http/1.1"}
		ln = tls.NewListener(ln, config)
	}
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: ledgerTime, ReadTimeout: ledgerTime, WriteTimeout: ledgerTime, IdleTimeout: time.Minute, MaxHeaderBytes: ledgerBytes,
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving at %s: %w", ln.Addr(), err)
	}
	return nil
}
