package audit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"time"

	"github.com/palisade-security/palisade/ledger"
)

// Served is a ledger that is read over HTTPS (C2SP tlog-tiles): its checkpoint and its tree, and no records.
type Served struct {
	prefix *url.URL
	client *http.Client
}

// The bounds of what is fetched.
const (
	fetchTime = 30 * time.Second // for one file
	fetchSize = 64 << 10         // bytes of one: a checkpoint, or a tile, which is an eighth of that
)

// NewServed returns the ledger whose files are served below an https:// URL. The config says how the server is known; nil: by the
// authorities of this host. Nothing is asked yet.
func NewServed(prefix string, config *tls.Config) (*Served, error) {
	at, err := url.Parse(prefix)
	switch {
	case err != nil:
		return nil, errors.New("the URL of the ledger cannot be read; expected one such as https://control.shop.example:9950/v1/ledger")
	case at.Scheme != "https" || at.Hostname() == "":
		return nil, fmt.Errorf("%s is no place of a ledger; expected a folder, or a URL such as https://control.shop.example:9950/v1/ledger", at.Redacted())
	case at.User != nil || at.RawQuery != "" || at.Fragment != "":
		return nil, fmt.Errorf("%s: the URL of a ledger has no user, no query and no fragment", at.Host)
	}
	return &Served{at, &http.Client{
		Timeout:   fetchTime,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true},
		// Elsewhere is where nobody has said that the ledger is.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close closes idle connections.
func (s *Served) Close() { s.client.CloseIdleConnections() }

// read is a ledger.Reader.
func (s *Served) read(ctx context.Context, path string) ([]byte, error) {
	text, err := s.fetch(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("asking %s for %s: %w", s.prefix.Host, path, err)
	}
	return text, nil
}

func (s *Served) fetch(ctx context.Context, path string) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.prefix.JoinPath(path).String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	a, err := s.client.Do(q)
	if told, ok := errors.AsType[*url.Error](err); ok {
		return nil, told.Err // the rest is said already
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = a.Body.Close() }() // what is of use has been read
	switch a.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, fs.ErrNotExist
	default:
		return nil, fmt.Errorf("it answers %s", http.StatusText(a.StatusCode))
	}
	text, err := io.ReadAll(io.LimitReader(a.Body, fetchSize+1))
	if err == nil && len(text) > fetchSize {
		err = errors.New("it is too long for a file of a ledger")
	}
	return text, err
}

// tree is that of the ledger.
func (p *Place) tree(ctx context.Context) ledger.Tree {
	if p.Served != nil {
		return ledger.Fetched(p.Served.read)
	}
	return ledger.Files(p.files(ctx))
}
