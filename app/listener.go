package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/listen"
)

// certificates show what a handshake asks for; reloads swap them.
type certificates interface {
	GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error)
}

// listener is one declared listener that serves.
type listener struct {
	declared model.Listener
	bounds   any // the settings of the edge that a socket is bound with
	hosts    []string
	files    *keyring.FileCertificates // nil: local ones
	current  atomic.Pointer[certificates]
	servers  []*listen.Server
	stop     context.CancelFunc
}

// bind opens new listeners, keeps those that did not change and ends those that are gone. On error it
// leaves everything as it was.
func (e *edge) bind(snap *model.Snapshot) error {
	fresh := map[string]*listener{}
	kept := map[string]certificates{}
	fail := func(err error) error {
		for _, l := range fresh {
			for _, s := range l.servers {
				err = errors.Join(err, s.Close())
			}
		}
		return err
	}
	hosts := e.gate.Table.Hosts
	for _, name := range slices.Sorted(maps.Keys(snap.Edge.Listeners)) {
		declared := snap.Edge.Listeners[name]
		certs, err := e.certificates(declared, hosts)
		if err != nil {
			return fail(fmt.Errorf("edge.listeners.%s: %w", name, err))
		}
		if old, ok := e.listeners[name]; ok && old.same(declared, boundsOf(snap)) {
			kept[name] = certs
			continue
		}
		l := &listener{declared: declared, bounds: boundsOf(snap), hosts: hosts}
		l.show(certs)
		if err := e.open(l, name, snap, e.listeners[name]); err != nil {
			return fail(err)
		}
		fresh[name] = l
	}
	for name, certs := range kept {
		e.listeners[name].show(certs)
	}
	e.replaceListeners(fresh, kept)
	return nil
}

func (e *edge) replaceListeners(fresh map[string]*listener, kept map[string]certificates) {
	for name, l := range e.listeners {
		if _, ok := kept[name]; ok {
			continue
		}
		if _, ok := fresh[name]; ok {
			l.retire()
		} else {
			l.stop()
		}
		delete(e.listeners, name)
	}
	for name, l := range fresh {
		ctx, cancel := context.WithCancel(e.ctx)
		l.stop = cancel
		for _, s := range l.servers {
			e.group.Go(func() error { return s.Run(ctx) })
		}
		e.listeners[name] = l
	}
}

// retire leaves new connections to a successor; those that are open end by themselves.
func (l *listener) retire() {
	for _, s := range l.servers {
		s.Retire()
	}
}

func (l *listener) show(c certificates) {
	l.files, _ = c.(*keyring.FileCertificates)
	l.current.Store(&c)
}

func (l *listener) same(d model.Listener, bounds any) bool {
	d.HSTS = l.declared.HSTS // a header's value needs no new socket
	d.TLS.Certificates, d.TLS.Local = l.declared.TLS.Certificates, l.declared.TLS.Local
	return reflect.DeepEqual(l.declared, d) && reflect.DeepEqual(l.bounds, bounds)
}

type socketBounds struct {
	header, idle, drain                  time.Duration
	headerBytes, connections, perAddress int
}

func boundsOf(snap *model.Snapshot) any {
	ed := &snap.Edge
	return socketBounds{ed.Timeouts.Header.Std(), ed.Timeouts.Idle.Std(), ed.Timeouts.Drain.Std(), int(ed.Sizes.Header), ed.Concurrency.Connections, ed.Concurrency.PerAddress}
}

// open binds the TLS socket of a listener and, if declared, the one that redirects to it. It shares
// the sockets of its predecessor where the addresses are the same.
func (e *edge) open(l *listener, name string, snap *model.Snapshot, old *listener) error {
	ed := &snap.Edge
	inherit := func(i int) *listen.Server {
		if old == nil || i >= len(old.servers) {
			return nil
		}
		return old.servers[i]
	}
	tlsConfig := listen.Config(l.declared.TLS.MinVersion == "1.3", func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return (*l.current.Load()).GetCertificate(hello)
	})
	o := listen.Options{
		Name: name, Address: l.declared.Address, Handler: e.engine, TLS: tlsConfig,
		Header: ed.Timeouts.Header.Std(), Idle: ed.Timeouts.Idle.Std(), Drain: ed.Timeouts.Drain.Std(), HeaderBytes: int(ed.Sizes.Header),
		Connections: ed.Concurrency.Connections, PerAddress: ed.Concurrency.PerAddress, Inherit: inherit(0),
	}
	s, err := listen.Bind(e.ctx, o)
	if err != nil {
		return fmt.Errorf("edge.listeners.%s.address: %w", name, err)
	}
	l.servers = append(l.servers, s)
	if l.declared.RedirectFrom == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		return fmt.Errorf("edge.listeners.%s.address: %w", name, err)
	}
	o.Name, o.Address, o.TLS, o.Inherit = name+"-redirect", l.declared.RedirectFrom, nil, inherit(1)
	o.Handler = listen.Redirect(port, func() []string { return e.routeHosts() })
	r, err := listen.Bind(e.ctx, o)
	if err != nil {
		return errors.Join(fmt.Errorf("edge.listeners.%s.redirect_from: %w", name, err), s.Close())
	}
	l.servers = append(l.servers, r)
	return nil
}

// routeHosts are the declared hosts of the snapshot in force.
func (e *edge) routeHosts() []string {
	if t := e.engine.Table(); t != nil {
		return t.Hosts
	}
	return nil
}

func (e *edge) certificates(l model.Listener, hosts []string) (certificates, error) {
	if l.TLS.Local {
		if e.ca == nil {
			ca, err := keyring.OpenCA(filepath.Join(e.state, "ca"))
			if err != nil {
				return nil, err
			}
			e.ca = ca
		}
		return e.ca.Certificates(hosts)
	}
	return fileCertificates(e.ctx, l.TLS.Certificates)
}

// fileCertificates reads certificates, and warns of those that end soon.
func fileCertificates(ctx context.Context, named []model.Certificate) (certificates, error) {
	pairs := make([]keyring.Pair, len(named))
	for i, c := range named {
		pairs[i] = keyring.Pair{Cert: c.Cert, Key: c.Key}
	}
	files, err := keyring.LoadCertificates(pairs)
	if err != nil {
		return nil, err
	}
	for _, w := range files.Warnings(time.Now()) {
		slog.WarnContext(ctx, "certificate", "warning", w)
	}
	return files, nil
}

// reloadCertificates reads certificate files again; the last good ones stay on error.
func (e *edge) reloadCertificates() error {
	var errs []error
	for _, l := range e.listeners {
		if l.files != nil {
			errs = append(errs, l.files.Reload())
		}
	}
	if e.intake != nil && e.intake.files != nil {
		errs = append(errs, e.intake.files.Reload())
	}
	return errors.Join(errs...)
}

func (e *edge) stopListeners() {
	for _, l := range e.listeners {
		l.stop()
	}
}

// URLs are where the fleet can be reached, for people.
func (e *edge) urls() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(e.listeners)) {
		l := e.listeners[name]
		_, port, err := net.SplitHostPort(l.servers[0].Addr().String())
		if err != nil {
			continue
		}
		for _, h := range l.hosts {
			if !strings.HasPrefix(h, "*") {
				out = append(out, "https://"+net.JoinHostPort(h, port))
			}
		}
	}
	return out
}
