package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/palisade-security/palisade/app/audit"
	"github.com/palisade-security/palisade/model"
)

// Answering is where a witness is asked to sign.
type Answering struct {
	Address string            // host:port
	TLS     model.Certificate // files; the zero value: in the clear, which goes on this host alone
}

// AuditAnswer signs the checkpoints that are sent to a witness (C2SP tlog-witness) until ctx ends.
func AuditAnswer(ctx context.Context, o *Options, at Answering, own, name, key string) error {
	w, err := audit.OpenWitness(own, name, key)
	if err != nil {
		return err
	}
	config, err := at.config()
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", at.Address)
	if err != nil {
		return fmt.Errorf("--serve: %w; stop what listens there, or choose another place", err)
	}
	fmt.Fprintf(o.Err, "signs what is sent to %s%s\n", ln.Addr(), audit.AddCheckpoint)
	return serveLedger(ctx, ln, config, audit.Answering(w, own, slog.Default()))
}

// config is that of TLS, nil in the clear.
func (a *Answering) config() (*tls.Config, error) {
	host, _, err := net.SplitHostPort(a.Address)
	if err != nil {
		return nil, fmt.Errorf("--serve: %w; write HOST:PORT", err)
	}
	if a.TLS == (model.Certificate{}) {
		if !net.ParseIP(host).IsLoopback() {
			return nil, errors.New("--serve: without --cert and --cert-key only this host is answered, such as at 127.0.0.1:8443")
		}
		return nil, nil //nolint:nilnil // nil is none
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(a.TLS.Cert, a.TLS.Key)
		return &pair, err
	}
	if _, err := load(); err != nil {
		return nil, fmt.Errorf("--cert, --cert-key: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load() }}, nil // it may be renewed
}
