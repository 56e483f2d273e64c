package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/palisade-security/palisade/control"
)

// BusServer writes what a server of an external bus needs into a folder: its SVID and key, whom it trusts, and the part of
// its configuration that lets control decide about connections. It needs what control stands on, and no control.
func BusServer(ctx context.Context, o *Options, b *BusServerOptions) error {
	tick := time.NewTicker(lookBusServer)
	defer tick.Stop()
	for due := time.Now(); ; {
		if !time.Now().Before(due) {
			ends, err := makeBusServer(ctx, o, b.Name, b.Folder)
			if err == nil {
				err = reload(ctx, b.Reload)
			}
			switch {
			case !b.Watch:
				return err
			case err == nil && ends.IsZero():
				return errors.New("--watch: another issuer gives the certificate; keep it with palisade svid --watch")
			case err != nil:
				slog.ErrorContext(ctx, "the certificate of a bus server is not made again", "server", b.Name, "error", err, "again_in", lookBusServer)
			default:
				due = time.Now().Add(time.Until(ends) / 2).Round(0)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// BusServerOptions say for which server, and where to.
type BusServerOptions struct {
	Name, Folder string
	Watch        bool   // go on, and make another certificate at half of its life
	Reload       string // command that is run, without a shell, after each
}

// lookBusServer is how often the wall clock is looked at: certificates end by it, and it goes on while a machine sleeps and timers do not.
const lookBusServer = time.Minute

// makeBusServer does it once. It returns when the certificate ends; zero: another issuer gives it.
func makeBusServer(ctx context.Context, o *Options, name, folder string) (ends time.Time, err error) {
	_, snap, findings, err := o.forOthers().load(false)
	o.tell(findings)
	if err != nil {
		return ends, err
	}
	state, err := o.state()
	if err != nil {
		return ends, err
	}
	s := &stand{snap: snap, mesh: snap.Mesh, state: state}
	defer func() { err = errors.Join(err, s.close()) }()
	options, err := s.open(ctx, ControlPlace{})
	if err != nil {
		return ends, err
	}
	if len(options.Bus.URLs) == 0 {
		return ends, errors.New("mesh.control.bus.urls: the model names no servers, and control runs its own")
	}
	out, err := control.MakeBusServer(ctx, *options, name, administrator())
	if err != nil {
		return ends, sameRing(err)
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return ends, fmt.Errorf("finding the folder: %w", err)
	}
	if err := makeFolder(folder); err != nil {
		return ends, err
	}
	at := func(name string) string { return filepath.Join(folder, name) }
	config := func(cert, roots string) []byte {
		return fmt.Appendf(nil, "tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true, timeout: 5 }\n%s", at(cert), at("key.pem"), at(roots), out.Config)
	}
	if out.Chain == nil { // another issuer gives them
		if err := replaceFile(at("palisade.conf"), config("svid.pem", "bundle.pem")); err != nil {
			return ends, err
		}
		_, err = fmt.Fprintf(o.Err, "%s for bus/%s; its SVID comes from the Workload API of its host: palisade svid --write %s --socket SOCKET --watch --reload 'nats-server --signal reload'\n", folder, name, folder)
		return ends, err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{"key.pem", out.Key}, {"cert.pem", out.Chain}, {"roots.pem", out.Roots}, {"palisade.conf", config("cert.pem", "roots.pem")}} {
		if err := replaceFile(at(f.name), f.data); err != nil {
			return ends, err
		}
	}
	_, err = fmt.Fprintf(o.Err, "%s for bus/%s; its SVID ends %s\n", folder, name, out.Ends.Local().Format(time.DateTime))
	return out.Ends, err
}

// administrator is who runs this process, for the record.
func administrator() string {
	if u, err := user.Current(); err == nil {
		return "local:" + u.Username
	}
	return fmt.Sprintf("uid:%d", os.Getuid())
}

// replaceFile writes a file that nobody else reads, whole or not at all.
func replaceFile(path string, data []byte) error {
	fresh := path + ".new"
	err := os.WriteFile(fresh, data, 0o600)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
