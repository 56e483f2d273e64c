package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/gate"
	"github.com/palisade-security/palisade/token"
)

// Validate checks everything that starting would check and prints all findings. It returns their number and
// an error only if the check itself could not run.
func Validate(ctx context.Context, o *Options, development bool) (int, error) {
	_, snap, findings, err := o.load(development)
	if err != nil && !errors.Is(err, ErrFindings) {
		return 0, err
	}
	if snap != nil {
		b, err := gate.NewBuilder()
		if err != nil {
			return 0, err
		}
		_, more, err := b.Build(ctx, snap, &given{})
		findings = append(append(findings, more...), brokerFindings(snap)...)
		if err != nil && !errors.Is(err, gate.ErrFindings) {
			return 0, err
		}
	}
	if o.JSON {
		if findings == nil {
			findings = []model.Finding{}
		}
		return len(findings), writeJSON(o.Out, findings)
	}
	if err := o.printFindings(o.Out, findings); err != nil {
		return 0, err
	}
	if err == nil && !model.HasErrors(findings) {
		_, err = fmt.Fprintf(o.Out, "%s\n", o.summary(snap, len(findings)))
	}
	return len(findings), err
}

func (o *Options) summary(s *model.Snapshot, warnings int) string {
	verdict := "is sound"
	if warnings > 0 {
		verdict = "has " + count(warnings, "warning") + " and would start"
	}
	return fmt.Sprintf("fleet %s %s: %s, %s, %s, snapshot %s", s.Fleet, verdict, count(len(s.Services), "service"), count(len(s.Routes), "route"),
		count(len(s.Policies), "policy file"), short(s.Version))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// tell prints findings for people; a terminal that is gone cannot be told.
func (o *Options) tell(findings []model.Finding) {
	_ = o.printFindings(o.Err, findings)
}

func (o *Options) printFindings(w io.Writer, findings []model.Finding) error {
	var b bytes.Buffer
	if err := model.FormatFindings(&b, findings); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// Snapshot prints the resolved model as proxies get it; without development as control takes it, which runs on another host.
func Snapshot(o *Options, development bool) error {
	if !development {
		o = o.forOthers()
	}
	_, snap, findings, err := o.load(development)
	if err != nil {
		return errors.Join(err, o.printFindings(o.Err, findings))
	}
	return writeJSON(o.Out, snap)
}

// Token makes a token of the development issuer. It is worth something only to a gateway that runs under up.
func Token(o *Options, c token.Claims) (string, error) {
	_, snap, findings, err := o.load(true)
	if err != nil {
		return "", errors.Join(err, o.printFindings(o.Err, findings))
	}
	var provider *model.ResolvedProvider
	for i := range snap.Providers {
		if snap.Providers[i].Development {
			provider = &snap.Providers[i]
		}
	}
	if provider == nil {
		return "", errors.New("the model has no development provider; add providers: {dev: {development: true}}")
	}
	if c.Issuer == "" {
		c.Issuer = provider.Issuer
	}
	if c.Audience == nil {
		c.Audience = provider.Audience
	}
	if c.RolesClaim == "" {
		c.RolesClaim = provider.RolesClaim
	}
	for _, name := range c.Roles {
		if !declaredRole(snap, name) {
			return "", fmt.Errorf("role %q is not declared; the model has %s", name, roleNames(snap))
		}
	}
	state, err := o.state()
	if err != nil {
		return "", err
	}
	d, err := token.OpenDevelopment(filepath.Join(state, "token"))
	if err != nil {
		return "", err
	}
	return d.Issue(c)
}

func declaredRole(snap *model.Snapshot, name string) bool {
	for _, r := range snap.Roles {
		if r.Name == name {
			return true
		}
	}
	return false
}

// LocalCA prints the certificate of the local authority, or where it lies.
func LocalCA(o *Options, path bool) error {
	state, err := o.state()
	if err != nil {
		return err
	}
	dir := filepath.Join(state, "ca")
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("no local authority in %s; palisade up makes one, or palisade edge for a listener with tls: {local: true}; name its state directory with --state: %w", state, err)
	}
	ca, err := keyring.OpenCA(dir)
	if err != nil {
		return err
	}
	if path {
		_, err = fmt.Fprintln(o.Out, ca.CertificatePath())
		return err
	}
	_, err = o.Out.Write(ca.CertificatePEM())
	return err
}

// values resolves literals and references to secrets.
func values(in map[string]model.Value) (map[string]string, error) {
	out := make(map[string]string, len(in))
	for name, v := range in {
		s, err := v.Resolve(os.LookupEnv)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = s
	}
	return out, nil
}
