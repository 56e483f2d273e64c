package sink

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	maxAnswer = 16 << 20 // bytes of an answer that are read
	maxShown  = 300      // bytes of an answer that are shown
)

// Poster posts bodies to one HTTP server.
type Poster struct {
	url     string
	header  http.Header
	secrets []string
	client  *http.Client
}

// PosterOptions say how a server is reached.
type PosterOptions struct {
	URL     string
	Header  map[string]string // sent with each request
	Secrets []string          // never shown; values of Header that are secret
	TLS     *tls.Config       // nil: the authorities of the system
}

// NewPoster connects lazily. Redirects are not followed: they would take credentials elsewhere.
func NewPoster(o PosterOptions) *Poster {
	p := &Poster{url: o.URL, header: http.Header{}, secrets: o.Secrets}
	for name, value := range o.Header {
		p.header.Set(name, value)
	}
	p.client = &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: o.TLS, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 1, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p
}

// Close ends idle connections.
func (p *Poster) Close() error {
	p.client.CloseIdleConnections()
	return nil
}

// Reply is the answer of a server to a body.
type Reply struct {
	Status int
	After  time.Duration // Retry-After (RFC 9110, section 10.2.3); 0: none
	Body   []byte
}

// Post sends a body, compressed with gzip, and returns the answer whatever its status. Errors hold neither secrets nor
// more of the URL than the host.
func (p *Poster) Post(ctx context.Context, kind string, body []byte) (*Reply, error) {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err == nil {
		_, err = z.Write(body)
		err = errors.Join(err, z.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("compressing events: %w", err)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, &packed)
	if err != nil {
		return nil, errors.New("sending events: the URL cannot be used")
	}
	q.Header = p.header.Clone()
	q.Header.Set("Content-Type", kind)
	q.Header.Set("Content-Encoding", "gzip")
	q.Header.Set("User-Agent", "palisade")
	a, err := p.client.Do(q)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("sending events to %s: %w", q.URL.Host, err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(io.LimitReader(a.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", q.URL.Host, err)
	}
	return &Reply{Status: a.StatusCode, After: retryAfter(a.Header.Get("Retry-After"), time.Now()), Body: text}, nil
}

// Judge says what a status means where a server has no more to say than RFC 9110 does; nil for 2xx.
func (p *Poster) Judge(r *Reply) error {
	reason := strconv.Itoa(r.Status) + " " + http.StatusText(r.Status)
	if shown := p.Show(string(r.Body)); shown != "" {
		reason += ": " + shown
	}
	switch r.Status {
	case http.StatusRequestEntityTooLarge:
		return ErrTooLarge
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return &RefusedError{Reason: reason}
	case http.StatusUnauthorized, http.StatusForbidden:
		return errors.New("the server does not accept our credentials: " + reason)
	}
	if r.Status/100 == 2 {
		return nil
	}
	return &BusyError{After: r.After, Reason: reason}
}

// Show makes the text of a server fit for an error: short, printable, without secrets.
func (p *Poster) Show(text string) string {
	for _, secret := range p.secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return Printable(text)
}

// Printable makes text short and harmless to a terminal.
func Printable(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), maxShown)], "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text))
}

// retryAfter reads seconds or a date (RFC 9110, section 10.2.3); 0 if it is neither.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(text); err == nil && n >= 0 {
		return min(time.Duration(min(n, int(maxAsked/time.Second)))*time.Second, maxAsked)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
