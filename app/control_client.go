package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/identity/federation"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/model"
)

// Reach says how administrators reach a control on another host. The zero value is what runs on the state directory.
type Reach struct {
	Control   string // host:port, several by commas
	Bundle    string // file with the trust bundle by which control is known (SPIFFE JSON)
	Domain    string // trust domain; default that of the bundle
	TokenFile string // with an access token; "-" is standard input, empty the environment
}

// adminToken is the environment variable with the access token of an administrator.
const adminToken = "PALISADE_ADMIN_TOKEN" //nolint:gosec // a name, not a token

const maxAdminToken = 64 << 10 // bytes

// administer returns a client of the control that administrators mean. The caller closes it.
func (o *Options) administer() (*admin.Client, error) {
	if o.Reach.Control != "" {
		return o.remote()
	}
	state, err := o.state()
	if err != nil {
		return nil, err
	}
	return admin.Local(socketPath(state)), nil
}

// remote is a control on another host, which proves that it is one by its SVID.
func (o *Options) remote() (*admin.Client, error) {
	if o.Reach.Bundle == "" {
		return nil, errors.New("--control or PALISADE_CONTROL needs --bundle, by which control is known: palisade bundle prints it where control runs; there leave both out, and give --state")
	}
	config, err := o.Reach.control()
	if err != nil {
		return nil, err
	}
	token, err := o.token()
	if err != nil {
		return nil, err
	}
	return admin.Remote(strings.Split(o.Reach.Control, ","), config, func(context.Context) (string, error) { return token, nil }), nil
}

// control recognises a control by the trust bundle.
func (r *Reach) control() (*tls.Config, error) {
	data, err := os.ReadFile(r.Bundle)
	if err != nil {
		return nil, fmt.Errorf("--bundle: %w", err)
	}
	domain := r.Domain
	if domain == "" {
		if domain, err = bundleDomain(data); err != nil {
			return nil, fmt.Errorf("--bundle %s: %w", r.Bundle, err)
		}
	}
	control, err := workload.ParseID(model.ControlID(domain))
	if err != nil {
		return nil, fmt.Errorf("--trust-domain: %w", err)
	}
	bundle, err := federation.Parse(control.TrustDomain(), data)
	if err != nil {
		return nil, fmt.Errorf("--bundle %s: %w", r.Bundle, err)
	}
	trust, err := peer.NewTrust(bundle)
	if err != nil {
		return nil, fmt.Errorf("--bundle %s: %w", r.Bundle, err)
	}
	verifier := peer.NewVerifier(new(peer.Live))
	verifier.SetTrust(trust)
	none := func() (*tls.Certificate, error) { return new(tls.Certificate), nil }
	return peer.ClientConfig(none, verifier, peer.OneOf(control)), nil
}

// token reads the access token of an administrator. It never stands on the command line, which others can see.
func (o *Options) token() (string, error) {
	data := []byte(os.Getenv(adminToken))
	var err error
	switch o.Reach.TokenFile {
	case "":
	case "-":
		data, err = io.ReadAll(io.LimitReader(o.In, maxAdminToken))
	default:
		data, err = os.ReadFile(o.Reach.TokenFile)
	}
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := strings.TrimSpace(string(data))
	switch {
	case token == "":
		return "", errors.New("control on another host wants an access token: --token-file FILE, or " + adminToken)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("the access token holds what no token does")
	}
	return token, nil
}

// bundleDomain is the trust domain that the roots of a bundle name (X.509-SVID, section 2).
func bundleDomain(data []byte) (string, error) {
	var bundle struct {
		Keys []struct {
			X5C [][]byte `json:"x5c"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(data, &bundle); err != nil {
		return "", errors.New("it is no trust bundle (SPIFFE JSON)")
	}
	var names []string
	for _, k := range bundle.Keys {
		for _, der := range k.X5C {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return "", errors.New("a certificate in it cannot be read")
			}
			for _, u := range cert.URIs {
				if u.Scheme == "spiffe" {
					names = append(names, u.Host)
				}
			}
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) != 1 {
		return "", errors.New("its roots name no trust domain; give it: --trust-domain")
	}
	return names[0], nil
}

// asked makes of an error of a client what people can act on.
func (o *Options) asked(err error) error {
	if _, answered := errors.AsType[notFoundError](err); err == nil || answered {
		return err
	}
	where := o.Reach.Control
	if where == "" {
		state, stateErr := o.state()
		if stateErr != nil {
			return stateErr
		}
		if nobodyThere(err) {
			return fmt.Errorf("nobody answers on %s: start palisade control or palisade up there; name the state directory of the one that runs with --state, or a control on another host with --control", state)
		}
		where = state
	}
	problem, told := errors.AsType[*admin.Problem](err)
	if !told {
		u, unreached := errors.AsType[*url.Error](err)
		if !unreached {
			return err // it was asked wrongly, or what it is asked lies here and is damaged
		}
		return fmt.Errorf("control at %s does not answer: %w", where, u.Err) // the URL within says nothing that people have written
	}
	switch {
	case problem.Status == http.StatusUnauthorized:
		return errors.New("control does not accept the access token: it is not of its provider, not for its audience, or has expired")
	case problem.Detail != "":
		return errors.New(problem.Detail)
	case problem.Status == http.StatusForbidden:
		return errors.New("control refuses: this needs another role; see mesh.control.administrators")
	}
	return fmt.Errorf("control at %s: %w", where, problem)
}
