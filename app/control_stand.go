package app

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/federation"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/keyring/kms"
	"github.com/palisade-security/palisade/keyring/pkcs11"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/filter/jwt"
	"github.com/palisade-security/palisade/store/table"
)

// stand is what a control stands on, opened as its model says.
type stand struct {
	snap   *model.Snapshot
	mesh   *model.ResolvedMesh
	state  string
	users  *jwt.Authenticator // of administrators; nil: they come by the socket alone
	people *jwt.Authenticator // of those who sign in to the console; nil: they come by one-time links alone
	door   *signIn            // for them
	shared string             // where PostgreSQL is, if it holds the truth; secret
	closes []io.Closer        // in the order in which they were opened
}

// close closes what was opened, the last first.
func (s *stand) close() error {
	var errs []error
	for _, c := range slices.Backward(s.closes) {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// open opens everything. The caller closes it, also after an error.
func (s *stand) open(ctx context.Context, place ControlPlace) (*control.Options, error) {
	if s.mesh == nil {
		return nil, errors.New("mesh: this model has none, and control nothing to do; add mesh: {} to the fleet")
	}
	folder := controlFolder(s.state)
	if err := makeFolder(folder); err != nil {
		return nil, err
	}
	server := &s.mesh.Server
	o := &control.Options{
		Domain: s.snap.TrustDomain, Name: place.Name, Log: slog.Default(), Model: s.snap, Check: checkModel,
		Listen: place.Listen, Reach: place.Reach, Socket: socketPath(s.state),
		Bus:  control.BusOptions{Dir: filepath.Join(folder, "bus"), Listen: server.Bus.Listen, URLs: server.Bus.URLs, Advertise: server.Bus.Advertise, Replicas: server.Bus.Replicas},
		Join: server.Join.Std(), Grace: server.Grace.Std(),
	}
	if o.Listen == "" {
		o.Listen = server.Listen
	}
	if o.Reach == "" {
		o.Reach = reachable(ctx, o.Listen, o.Bus.URLs)
	}
	for _, open := range []func(context.Context, *control.Options) error{
		s.openKeys, s.openStore, s.openParent, s.openIssuer, s.openFederation, s.openReviews, s.openAdministrators, s.openConsole,
	} {
		if err := open(ctx, o); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// openKeys opens the ring, and the token that signs if the model names one.
func (s *stand) openKeys(ctx context.Context, o *control.Options) error {
	folder := controlFolder(s.state)
	keeper, err := keyring.LocalKeeper(filepath.Join(folder, "keys"))
	switch url := s.mesh.Keys; {
	case err != nil || url == "":
	case strings.HasPrefix(url, "pkcs11:"):
		var keys pkcs11.Keys
		if keys, err = pkcs11.Open(url); err == nil {
			s.closes, o.Keys = append(s.closes, keys), keys
		}
	default:
		var service kms.Keeper
		if service, err = kms.Open(ctx, url); err == nil {
			s.closes, keeper = append(s.closes, service), service
		}
	}
	if err == nil {
		o.Ring, err = keyring.OpenRing(ctx, filepath.Join(folder, "ring"), keeper)
	}
	if err != nil {
		return fmt.Errorf("mesh.keys: %w", err)
	}
	return nil
}

// openStore opens the truth. Its location may hold a password and is not shown.
func (s *stand) openStore(ctx context.Context, o *control.Options) error {
	location := "sqlite:" + filepath.Join(controlFolder(s.state), "control.db")
	if v := s.mesh.Server.Store; v != (model.Value{}) {
		var err error
		if location, err = v.Resolve(os.LookupEnv); err != nil {
			return fmt.Errorf("mesh.control.store: %w", err)
		}
		if !strings.HasPrefix(location, "postgres://") && !strings.HasPrefix(location, "postgresql://") {
			return errors.New("mesh.control.store: what it refers to is not a postgres:// URL; leave it out for SQLite in the state directory")
		}
		s.shared = location
	}
	store, err := table.Open(ctx, location)
	if err != nil {
		return fmt.Errorf("mesh.control.store: %w", err)
	}
	s.closes, o.Store = append(s.closes, store), store
	return nil
}

// openParent reads the upstream authority that has signed our intermediate.
func (s *stand) openParent(_ context.Context, o *control.Options) error {
	if s.mesh.Chain == nil {
		return nil
	}
	const key = "mesh.issuer.upstream.key"
	text, err := s.mesh.Key.Resolve(os.LookupEnv)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	pair, err := tls.X509KeyPair(s.mesh.Chain, []byte(text))
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return fmt.Errorf("%s: it is no key that signs", key)
	}
	if o.Parent, err = authority.ReadParent(s.mesh.Chain, signer); err != nil {
		return fmt.Errorf("mesh.issuer.upstream: %w", err)
	}
	return nil
}

// openIssuer connects to the Workload API that issues the identities of the fleet in place of control.
func (s *stand) openIssuer(ctx context.Context, o *control.Options) (err error) {
	if s.mesh.WorkloadAPI == "" {
		return nil
	}
	if o.Issuer, err = workload.NewExternal(ctx, s.mesh.WorkloadAPI); err != nil {
		return fmt.Errorf("mesh.issuer.workload_api: %w", err)
	}
	return nil
}

// openFederation reads what the model says of other trust domains.
func (s *stand) openFederation(_ context.Context, o *control.Options) error {
	if s.mesh.WorkloadAPI != "" { // which hands out their bundles
		return nil
	}
	for i := range s.mesh.Federation {
		f := &s.mesh.Federation[i]
		key := fmt.Sprintf("mesh.federation[%q]", f.TrustDomain)
		member, err := workload.ParseID(model.ControlID(f.TrustDomain))
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		r := federation.Relation{TrustDomain: member.TrustDomain(), URL: f.URL}
		if f.EndpointID != "" {
			if r.EndpointID, err = workload.ParseID(f.EndpointID); err != nil {
				return fmt.Errorf("%s.endpoint_id: %w", key, err)
			}
		}
		if f.Bundle != nil {
			if r.Bundle, err = federation.Parse(r.TrustDomain, f.Bundle); err != nil {
				return fmt.Errorf("%s.bundle: %w", key, err)
			}
		}
		o.Federation = append(o.Federation, r)
	}
	return nil
}

const reviewTime = 10 * time.Second

// openReviews opens what proves to control what a proxy is, beside join tokens.
func (s *stand) openReviews(_ context.Context, o *control.Options) error {
	if n := s.mesh.Server.Certificates; n != nil {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(n.Roots) {
			return errors.New("mesh.control.certificates.roots: there is no certificate in it")
		}
		o.Certificates = &control.Certificates{Roots: roots, Names: n.Names}
	}
	k := s.mesh.Server.Kubernetes
	if k == nil {
		return nil
	}
	ca, err := os.ReadFile(k.CA)
	if err != nil {
		return fmt.Errorf("mesh.control.kubernetes.ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("mesh.control.kubernetes.ca: there is no certificate in %s", k.CA)
	}
	o.Kubernetes = &attest.Kubernetes{
		URL: k.URL, Audience: k.Audience,
		Token: func() (string, error) {
			token, err := os.ReadFile(k.TokenFile) // it is renewed by the kubelet
			return strings.TrimSpace(string(token)), err
		},
		Client: &http.Client{Timeout: reviewTime, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}},
	}
	return nil
}

// reachable is where other controls find one that listens everywhere: at the address from which it reaches the bus.
// Without a cluster there are no others.
func reachable(ctx context.Context, listen string, urls []string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err != nil || len(urls) == 0 || host != "" && (ip == nil || !ip.IsUnspecified()) {
		return ""
	}
	conn, err := new(net.Dialer).DialContext(ctx, "udp", strings.TrimPrefix(urls[0], "tls://")) // sends nothing
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	own, _, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return ""
	}
	return net.JoinHostPort(own, port)
}
