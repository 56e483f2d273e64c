package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/palisade-security/palisade/app/audit"
	"github.com/palisade-security/palisade/app/sinks"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/model"
)

// witnesses has the witnesses that a model names sign what the ledger of a memory comes to, which lies at a place.
func (m *memory) witnesses(of *model.Snapshot, place func(audit.Source) (*audit.Place, error)) error {
	p := &audit.Pusher{Log: slog.Default()}
	for i, w := range of.Audit.Witnesses {
		one, err := remoteWitness(&w)
		if err != nil {
			return fmt.Errorf("audit.witnesses[%d]: %w", i, err)
		}
		p.Witnesses = append(p.Witnesses, one)
	}
	if len(p.Witnesses) == 0 {
		return nil
	}
	m.keeper.Beside = func(ctx context.Context, of audit.Source) {
		at, err := place(of)
		if err != nil { // cannot be: the ledger is open
			slog.ErrorContext(ctx, "witnesses are not asked", "error", err)
			return
		}
		p.Run(ctx, at)
	}
	return nil
}

// remoteWitness connects to a witness, lazily.
func remoteWitness(w *model.AuditWitness) (*ledger.Remote, error) {
	u, err := url.Parse(w.URL)
	if err != nil {
		return nil, errors.New("url: it cannot be read")
	}
	config, err := sinks.Secured(u, w.CA, nil)
	if err != nil {
		return nil, err
	}
	return ledger.NewRemote(w.Key, u, &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, IdleConnTimeout: 2 * time.Minute})
}
