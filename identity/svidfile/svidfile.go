// Package svidfile keeps an SVID in files, for software that reads its certificates from files: nginx, PostgreSQL, curl.
// It takes the SVID from a Workload API (SPIFFE Workload API, section 5). Software that speaks the Workload API or
// SDS itself needs no files, and no key on a disk.
package svidfile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The files.
const (
	Chain  = "svid.pem"   // the SVID and its intermediates, leaf first
	Key    = "key.pem"    // PKCS #8, readable by its owner alone
	Bundle = "bundle.pem" // the roots of the SVID's trust domain, and of no other
)

// Options say what goes where.
type Options struct {
	Address string // of the Workload API: unix:///run/palisade/api.sock
	Folder  string // made if it is absent
	ID      string // which SVID, if there are several; "": the default one
	Log     *slog.Logger
}

// Written is what the files hold.
type Written struct {
	ID      string
	Expires time.Time
}

// Write writes the files once.
func Write(ctx context.Context, o Options) (Written, error) {
	c, err := o.connect(ctx)
	if err != nil {
		return Written{}, err
	}
	defer c.Close()
	x, err := c.FetchX509Context(ctx)
	if status.Code(err) == codes.PermissionDenied { // SPIFFE Workload API, section 6.2: the caller is entitled to no identity
		return Written{}, fmt.Errorf("asking the Workload API at %s: this process is none that has an identity there; \"workloads\" of a service say which are: %w", o.Address, err)
	}
	if err != nil {
		return Written{}, fmt.Errorf("asking the Workload API at %s: %w", o.Address, err)
	}
	return o.write(x)
}

// Watch writes the files whenever what they hold is renewed, and calls changed after each time, until the context ends.
// While the Workload API is away, or files cannot be written, the old ones stay.
func Watch(ctx context.Context, o Options, changed func(context.Context, Written)) error {
	c, err := o.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.WatchX509Context(ctx, &watcher{o: o, changed: func(w Written) { changed(ctx, w) }})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("following the Workload API at %s: %w", o.Address, err)
}

func (o *Options) connect(ctx context.Context) (*workloadapi.Client, error) {
	c, err := workloadapi.New(ctx, workloadapi.WithAddr(o.Address))
	if err != nil {
		return nil, fmt.Errorf("reaching the Workload API at %s: %w", o.Address, err)
	}
	return c, nil
}

type watcher struct {
	o       Options
	changed func(Written)
}

// OnX509ContextUpdate writes what is new.
func (w *watcher) OnX509ContextUpdate(x *workloadapi.X509Context) {
	written, err := w.o.write(x)
	if err != nil {
		w.o.Log.Error("the renewed SVID is not written", "error", err)
		return
	}
	w.changed(written)
}

// OnX509ContextWatchError tells that nothing new comes; the library tries again.
func (w *watcher) OnX509ContextWatchError(err error) {
	w.o.Log.Warn("the Workload API gives no SVID now", "address", w.o.Address, "error", err)
}

// write replaces the files. Each is whole at any time. The key goes first: who reads between it and the SVID sees that they do
// not belong together, and is told again in a moment.
func (o *Options) write(x *workloadapi.X509Context) (Written, error) {
	svid, err := o.choose(x)
	if err != nil {
		return Written{}, err
	}
	chain, key, err := svid.Marshal()
	if err != nil {
		return Written{}, fmt.Errorf("writing the SVID: %w", err)
	}
	b, err := x.Bundles.GetX509BundleForTrustDomain(svid.ID.TrustDomain())
	if err != nil {
		return Written{}, fmt.Errorf("writing the bundle: %w", err)
	}
	roots, err := b.Marshal()
	if err != nil {
		return Written{}, fmt.Errorf("writing the bundle: %w", err)
	}
	if err := os.MkdirAll(o.Folder, 0o755); err != nil { //nolint:gosec // G301: what others may not read is the key
		return Written{}, fmt.Errorf("making the folder of the SVID: %w", err)
	}
	for _, f := range []struct {
		name string
		text []byte
		mode os.FileMode
	}{{Bundle, roots, 0o644}, {Key, key, 0o600}, {Chain, chain, 0o644}} {
		if err := replace(filepath.Join(o.Folder, f.name), f.text, f.mode); err != nil {
			return Written{}, fmt.Errorf("writing %s: %w", f.name, err)
		}
	}
	return Written{svid.ID.String(), svid.Certificates[0].NotAfter}, nil
}

// choose returns the SVID that is asked for.
func (o *Options) choose(x *workloadapi.X509Context) (*x509svid.SVID, error) {
	if o.ID == "" {
		return x.DefaultSVID(), nil
	}
	id, err := spiffeid.FromString(o.ID)
	if err != nil {
		return nil, fmt.Errorf("%q is no SPIFFE ID: %w", o.ID, err)
	}
	for _, svid := range x.SVIDs {
		if svid.ID == id {
			return svid, nil
		}
	}
	return nil, fmt.Errorf("the Workload API gives this process no SVID of %s", id)
}

// replace writes a file beside its name and gives it the name once it is on the disk.
func replace(path string, text []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of what went wrong; else it is not there any more
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
