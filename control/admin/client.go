package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/model/plan"
)

// JoinToken joins a token and the root by which its bearer knows control.
func JoinToken(token string, root *x509.Certificate) string {
	sum := sha256.Sum256(root.Raw)
	return token + "." + base64.RawURLEncoding.EncodeToString(sum[:])
}

// ErrJoinToken refuses what palisade join has not printed. It never tells what that is, which may be another secret.
var ErrJoinToken = errors.New("its content is no join token")

// SplitJoinToken returns what JoinToken joined, an ErrJoinToken if that cannot be. Without a fingerprint, root is nil; an empty token has neither.
func SplitJoinToken(token string) (secret string, root []byte, err error) {
	secret, text, joined := strings.Cut(token, ".")
	if token != "" && !attest.IsJoinToken(secret) {
		return "", nil, ErrJoinToken
	}
	if !joined {
		return secret, nil, nil
	}
	root, err = base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(root) != sha256.Size {
		return "", nil, fmt.Errorf("%w: the fingerprint in it cannot be read", ErrJoinToken)
	}
	return secret, root, nil
}

const maxAnswer = 256 << 20

// Client speaks to a control. It is safe for concurrent use.
type Client struct {
	base  string
	token func(context.Context) (string, error)
	http  *http.Client
}

// Local speaks to the control of this host over its socket.
func Local(socket string) *Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	return &Client{base: "http://control", http: &http.Client{Transport: transport}}
}

// Remote speaks to a control over HTTPS, at the first of the addresses that answers. The config says how control is
// recognised (identity/peer); token returns the access token of the administrator.
func Remote(addresses []string, config *tls.Config, token func(context.Context) (string, error)) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var problems []error
		for _, at := range addresses {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
			if err == nil {
				return conn, nil
			}
			problems = append(problems, err)
		}
		return nil, errors.Join(problems...)
	}
	return &Client{base: "https://control", token: token, http: &http.Client{Transport: &http.Transport{TLSClientConfig: config, DialContext: dial}}}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns how the fleet stands.
func (c *Client) Status(ctx context.Context) (out Status, err error) {
	return out, c.do(ctx, http.MethodGet, StatusPath, nil, &out)
}

// Model returns a compiled model as JSON; of the empty version, the one in force.
func (c *Client) Model(ctx context.Context, version string) (out json.RawMessage, err error) {
	return out, c.do(ctx, http.MethodGet, ModelPath+"?version="+url.QueryEscape(version), nil, &out)
}

// History returns which models were in force, the newest first.
func (c *Client) History(ctx context.Context) (out []Model, err error) {
	return out, c.do(ctx, http.MethodGet, HistoryPath, nil, &out)
}

// Acts returns what administrators did, from after a number on.
func (c *Client) Acts(ctx context.Context, after int64) (out []Act, err error) {
	return out, c.do(ctx, http.MethodGet, ActsPath+"?after="+strconv.FormatInt(after, 10), nil, &out)
}

// Plan says what a compiled model would change.
func (c *Client) Plan(ctx context.Context, snapshot json.RawMessage) (out plan.Plan, err error) {
	return out, c.do(ctx, http.MethodPost, PlanPath, snapshot, &out)
}

// Apply puts a model in force, and returns when that is done or undone.
func (c *Client) Apply(ctx context.Context, q ApplyRequest) (out ApplyResult, err error) {
	return out, c.do(ctx, http.MethodPost, ApplyPath, q, &out)
}

// Revoke refuses a service, serial number or node from now on, and returns when it has been cut off.
func (c *Client) Revoke(ctx context.Context, q RevokeRequest) (out RevokeResult, err error) {
	return out, c.do(ctx, http.MethodPost, RevokePath, q, &out)
}

// Restore undoes Revoke.
func (c *Client) Restore(ctx context.Context, q RevokeRequest) (out RevokeResult, err error) {
	return out, c.do(ctx, http.MethodPost, RestorePath, q, &out)
}

// Token makes a join token.
func (c *Client) Token(ctx context.Context, q TokenRequest) (out TokenResult, err error) {
	return out, c.do(ctx, http.MethodPost, TokenPath, q, &out)
}

// Console makes a link that signs a browser in.
func (c *Client) Console(ctx context.Context, q ConsoleRequest) (out ConsoleResult, err error) {
	return out, c.do(ctx, http.MethodPost, ConsolePath, q, &out)
}

// Bundle returns the trust bundle by which proxies and administrators know control (SPIFFE JSON).
func (c *Client) Bundle(ctx context.Context) (out json.RawMessage, err error) {
	return out, c.do(ctx, http.MethodGet, bundlePath, nil, &out)
}

// do asks and reads the answer. The error is a *Problem if control says no.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("asking control: %w", err)
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return fmt.Errorf("asking control: %w", err)
	}
	if c.token != nil {
		token, err := c.token(ctx)
		if err != nil {
			return fmt.Errorf("asking control: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("asking control: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("asking control: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		p := &Problem{Status: answer.StatusCode, Title: http.StatusText(answer.StatusCode)}
		_ = json.Unmarshal(data, p) // what is no problem document has a status all the same
		return fmt.Errorf("asking control: %w", p)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("asking control: reading the answer: %w", err)
	}
	return nil
}
