package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	answerTime   = 10 * time.Second
	metadataLife = time.Hour
	againTime    = 5 * time.Second // before the provider is asked again what it did not say
	maxDocument  = 256 << 10
)

// metadata is what a provider says of itself (OpenID Connect Discovery 1.0, section 3).
type metadata struct {
	Issuer      string   `json:"issuer"`
	Authorize   string   `json:"authorization_endpoint"`
	Token       string   `json:"token_endpoint"`
	End         string   `json:"end_session_endpoint"`
	Methods     []string `json:"token_endpoint_auth_methods_supported"`
	Challenges  []string `json:"code_challenge_methods_supported"`
	NamesItself bool     `json:"authorization_response_iss_parameter_supported"`

	authorize, token, end *url.URL
}

// metadata reads it, and again after a while. What was known stays in force while the provider does not answer.
func (p *Provider) metadata(ctx context.Context, now time.Time) (*metadata, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	age := now.Sub(p.tried)
	if p.known != nil && (age < metadataLife && p.wrong == nil || age < againTime) {
		return p.known, nil
	}
	if p.known == nil && p.wrong != nil && age < againTime {
		return nil, p.wrong
	}
	m, err := p.discover(ctx)
	if ctx.Err() != nil { // whoever asked is gone: that says nothing about the provider
		return nil, context.Cause(ctx)
	}
	p.tried, p.wrong = now, err
	if err == nil {
		p.known = m
	}
	if p.known == nil {
		return nil, err
	}
	return p.known, nil
}

func (p *Provider) discover(ctx context.Context) (*metadata, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(p.o.Issuer, "/")+"/.well-known/openid-configuration", http.NoBody)
	if err != nil {
		return nil, err
	}
	status, data, err := p.do(r)
	if err != nil {
		return nil, err
	}
	m := new(metadata)
	if status != http.StatusOK || json.Unmarshal(data, m) != nil {
		return nil, fmt.Errorf("it answers %d and no metadata", status)
	}
	// Section 4.3: a document that names another issuer could send us to that one.
	if m.Issuer != p.o.Issuer {
		return nil, errors.New("its metadata names another issuer")
	}
	if m.Challenges != nil && !slices.Contains(m.Challenges, "S256") {
		return nil, errors.New("it does not take PKCE with S256")
	}
	if m.authorize, err = secured(m.Authorize); err == nil {
		m.token, err = secured(m.Token)
	}
	if err != nil {
		return nil, fmt.Errorf("its metadata: %w", err)
	}
	if m.End != "" {
		if m.end, err = secured(m.End); err != nil {
			return nil, fmt.Errorf("its metadata: %w", err)
		}
	}
	return m, nil
}

// secured reads an address that secrets or browsers may be sent to.
func secured(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("an endpoint is no https URL")
	}
	return u, nil
}

// redeem trades a code for an ID token (RFC 6749, section 4.1.3).
func (p *Provider) redeem(ctx context.Context, m *metadata, code, verifier string) (string, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {p.o.Redirect}, "code_verifier": {verifier}}
	secret := ""
	if p.o.Secret != nil {
		var err error
		if secret, err = p.o.Secret(); err != nil {
			return "", fmt.Errorf("reading the client's secret: %w", err)
		}
	}
	basic := secret != "" && (m.Methods == nil || slices.Contains(m.Methods, "client_secret_basic"))
	if !basic {
		form.Set("client_id", p.o.ClientID)
		if secret != "" {
			form.Set("client_secret", secret)
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.token.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	if basic {
		r.SetBasicAuth(url.QueryEscape(p.o.ClientID), url.QueryEscape(secret))
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, data, err := p.do(r)
	if err != nil {
		return "", fmt.Errorf("redeeming the code: %w", err)
	}
	var answer struct {
		Token string `json:"id_token"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal(data, &answer); err != nil || status != http.StatusOK || answer.Token == "" {
		return "", fmt.Errorf("redeeming the code: the provider answers %d: %s", status, known(answer.Error))
	}
	return answer.Token, nil
}

// do asks the provider and reads an answer of bounded size. The error names neither code nor secret.
func (p *Provider) do(r *http.Request) (status int, data []byte, err error) {
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "palisade")
	answer, err := p.o.Client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	data, err = io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("%s answers more than %d bytes", r.URL.Host, maxDocument)
	}
	return answer.StatusCode, data, err
}
