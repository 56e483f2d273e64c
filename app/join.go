package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/keyring"
)

// Joining says how a proxy finds control and proves what it is. After the first time its state proves it.
type Joining struct {
	Control         []string // host:port each
	TrustDomain     string
	TokenFile       string // of a join token; "-": standard input
	Bundle          string // file of the trust bundle (SPIFFE JSON)
	Node            string // default the host's name
	NodeCertificate string // PEM files
	NodeKey         string
	KubernetesToken string // file of a projected service account token
	Issuer          string // Workload API of this host that gives the identity, in place of all that: unix:///PATH

	Input io.Reader // standard input
}

const maxTokenFile = 4 << 10 // bytes

// options reads what the files hold.
func (j *Joining) options(ctx context.Context) (o client.Options, err error) {
	switch {
	case len(j.Control) == 0:
		return o, errors.New("nothing says where control is; give --control HOST:PORT, or PALISADE_CONTROL")
	case j.TrustDomain == "":
		return o, errors.New("nothing says which trust domain this is; give --trust-domain, or PALISADE_TRUST_DOMAIN")
	}
	for _, at := range j.Control {
		if err := hostPort("--control", at, "10.0.0.5:9950"); err != nil {
			return o, err
		}
	}
	if _, err := workload.ParseID("spiffe://" + j.TrustDomain + "/control"); err != nil {
		return o, fmt.Errorf("--trust-domain %q: %w; write it as the model does, such as shop.example", j.TrustDomain, err)
	}
	o = client.Options{Domain: j.TrustDomain, Node: j.Node, Control: j.Control, Kubernetes: j.KubernetesToken, Log: slog.Default()}
	if j.Issuer != "" {
		err = j.issuer(ctx, &o)
		return o, err
	}
	if o.JoinToken, err = j.token(); err != nil {
		return o, fmt.Errorf("--join-token-file: %w", err)
	}
	if j.Bundle != "" {
		if o.Bundle, err = os.ReadFile(j.Bundle); err != nil {
			return o, fmt.Errorf("--bundle: %w", err)
		}
	}
	if j.NodeCertificate == "" {
		return o, nil
	}
	pair, err := tls.LoadX509KeyPair(j.NodeCertificate, j.NodeKey)
	if err != nil {
		return o, fmt.Errorf("--node-certificate, --node-key: %w", err)
	}
	o.Certificate = &pair
	return o, nil
}

// issuer connects to the Workload API that gives the identity. Nothing else proves what the proxy is then.
func (j *Joining) issuer(ctx context.Context, o *client.Options) (err error) {
	switch {
	case j.TokenFile != "" || j.NodeCertificate != "" || j.KubernetesToken != "":
		return errors.New("--issuer: the Workload API of this host says what the proxy is; give it without a join token, a node certificate and a service account")
	case !strings.HasPrefix(j.Issuer, "unix:///"): // over TCP the kernel could not tell who asks
		return fmt.Errorf("--issuer %q: expected unix:///PATH, such as unix:///run/spire/agent.sock", j.Issuer)
	}
	if o.Issuer, err = workload.NewExternal(ctx, j.Issuer); err != nil {
		return fmt.Errorf("--issuer: %w", err)
	}
	return nil
}

// token reads the join token. A file that is gone is none: it is of no use after the first time.
func (j *Joining) token() (string, error) {
	var in io.Reader
	switch j.TokenFile {
	case "":
		return "", nil
	case "-":
		in = j.Input
	default:
		f, err := os.Open(j.TokenFile)
		if errors.Is(err, os.ErrNotExist) {
			slog.Warn("there is no join token in that file; what was kept must do", "file", j.TokenFile)
			return "", nil
		}
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxTokenFile))
	text := strings.TrimSpace(string(b))
	if err == nil && text == "" {
		slog.Warn("the file with the join token is empty; what was kept must do", "file", j.TokenFile)
	}
	return text, err
}

// openRing opens the sealed state of a proxy.
func openRing(ctx context.Context, state string) (*keyring.Ring, error) {
	keeper, err := keyring.LocalKeeper(filepath.Join(state, "keys"))
	if err != nil {
		return nil, err
	}
	return keyring.OpenRing(ctx, filepath.Join(state, "ring"), keeper)
}

// provable tells what is missing for a proxy to join at all, and how to get it.
func (j *Joining) provable(c *client.Client) error {
	if err := c.Provable(); err != nil {
		if errors.Is(err, admin.ErrJoinToken) {
			err = fmt.Errorf("--join-token-file %s: %w", j.TokenFile, err)
		}
		name := strings.TrimPrefix(c.ID().Path(), "/")
		return fmt.Errorf("joining the mesh as %s: %w; where control runs, \"palisade join %s\" prints a token for the file that --join-token-file names", c.ID(), err, name)
	}
	return nil
}

// hostPort checks a flag that names where to listen or to be found.
func hostPort(flag, text, example string) error {
	if _, port, err := net.SplitHostPort(text); err != nil || port == "" {
		return fmt.Errorf("%s %q: expected HOST:PORT, such as %s", flag, text, example)
	}
	return nil
}

// joined waits for the first identity. It fails if control denies it: asking again would change nothing. Whoever had an
// identity before goes on, and is told in the log.
func joined(ctx context.Context, c *client.Client) error {
	if _, err := c.Certificate(); err == nil {
		return nil
	}
	for ctx.Err() == nil {
		_, changed, err := c.Source().X509SVID(ctx, c.ID())
		switch {
		case errors.Is(err, workload.ErrDenied):
			return fmt.Errorf("joining the mesh as %s: %w; why, says palisade events --kind enrolment where control runs. A join token works once, for its name, until it expires", c.ID(), err)
		case err == nil || changed == nil: // it has one, or none will come
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return nil
}
