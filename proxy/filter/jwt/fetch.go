package jwt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	maxDocument  = 512 << 10 // bytes of a key set or a discovery document
	fetchTimeout = 10 * time.Second
	maxDiscovery = 24 * time.Hour // that a discovered URL is believed
)

// discovered is where an issuer's metadata says its keys are.
type discovered struct {
	jwksURL string
	until   time.Time
}

// fetchClient prepares a client for key sets. Redirects are not followed: the URL is a trust anchor.
func fetchClient(given *http.Client) *http.Client {
	client := http.Client{}
	if given != nil {
		client = *given
	} else {
		client.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout:    5 * time.Second,
			ResponseHeaderTimeout:  fetchTimeout,
			MaxResponseHeaderBytes: 64 << 10,
			IdleConnTimeout:        30 * time.Second,
			ForceAttemptHTTP2:      true,
		}
	}
	client.Jar = nil
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// fetch gets the key set and how long it may be kept.
func (s *source) fetch(ctx context.Context) (*keySet, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	jwksURL := s.jwksURL
	if jwksURL == "" {
		if err := s.discover(ctx); err != nil {
			return nil, 0, fmt.Errorf("discovering where the keys are: %w", err)
		}
		jwksURL = s.metadata.jwksURL
	}
	body, header, err := s.get(ctx, jwksURL)
	if err != nil {
		return nil, 0, fmt.Errorf("fetching keys: %w", err)
	}
	set, err := parseKeySet(body)
	if err != nil {
		return nil, 0, err
	}
	return set, maxAge(header.Get("Cache-Control")), nil
}

// discover reads the issuer's metadata (OpenID Connect Discovery, section 4) unless it is known.
func (s *source) discover(ctx context.Context) error {
	if s.metadata.jwksURL != "" && time.Now().Before(s.metadata.until) {
		return nil
	}
	body, _, err := s.get(ctx, strings.TrimSuffix(s.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return err
	}
	document, err := parseObject(body, documentBounds())
	if err != nil {
		return fmt.Errorf("reading the metadata: %w", err)
	}
	// Section 4.3: a document that names another issuer could lend us that one's keys.
	if stringMember(document, "issuer") != s.issuer {
		return errors.New("the metadata names another issuer")
	}
	jwksURL := stringMember(document, "jwks_uri")
	if err := checkURL(jwksURL, s.loopback); err != nil {
		return fmt.Errorf("reading jwks_uri: %w", err)
	}
	s.metadata = discovered{jwksURL: jwksURL, until: time.Now().Add(maxDiscovery)}
	return nil
}

// get fetches a document of bounded size. Only 200 counts.
func (s *source) get(ctx context.Context, from string) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	request.Header.Set("User-Agent", "palisade")
	answer, err := s.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s answered %d", request.URL.Host, answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxDocument {
		return nil, nil, fmt.Errorf("%s answered more than %d bytes", request.URL.Host, maxDocument)
	}
	return body, answer.Header, nil
}

// maxAge reads how long an answer may be kept (RFC 9111, section 5.2.2); what must not be kept is zero.
func maxAge(cacheControl string) time.Duration {
	age := defaultRefresh
	for directive := range strings.SplitSeq(cacheControl, ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			if n, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32); err == nil && n >= 0 {
				age = time.Duration(n) * time.Second
			}
		}
	}
	return age
}

// isLoopback reports whether host is this machine, without asking anyone.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
