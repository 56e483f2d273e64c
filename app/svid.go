package app

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/palisade-security/palisade/identity/svidfile"
)

// SVIDOptions say which SVID goes where.
type SVIDOptions struct {
	Socket string // of the Workload API
	Folder string
	ID     string
	Watch  bool
	Reload string // command that is run, without a shell, after each renewal
}

const reloadTime = time.Minute

// WriteSVID writes the SVID of this process to files, once or for as long as the context lasts.
func WriteSVID(ctx context.Context, o *Options, s *SVIDOptions) error {
	if s.Socket == "" {
		return fmt.Errorf("no Workload API: name its socket by --socket, or SPIFFE_ENDPOINT_SOCKET")
	}
	if !strings.Contains(s.Socket, ":") {
		path, err := filepath.Abs(s.Socket)
		if err != nil {
			return fmt.Errorf("--socket: %w", err)
		}
		s.Socket = "unix://" + path
	}
	to := svidfile.Options{Address: s.Socket, Folder: s.Folder, ID: s.ID, Log: slog.Default()}
	say := func(w svidfile.Written) {
		fmt.Fprintf(o.Out, "%s until %s in %s\n", w.ID, w.Expires.Format(time.RFC3339), s.Folder)
	}
	if !s.Watch {
		w, err := svidfile.Write(ctx, to)
		if err != nil {
			return err
		}
		say(w)
		return reload(ctx, s.Reload)
	}
	return svidfile.Watch(ctx, to, func(ctx context.Context, w svidfile.Written) {
		say(w)
		if err := reload(ctx, s.Reload); err != nil {
			slog.ErrorContext(ctx, "who uses the SVID was not told that it is renewed", "error", err)
		}
	})
}

// reload runs a command that makes a program read its files again.
func reload(ctx context.Context, command string) error {
	words := strings.Fields(command)
	if len(words) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reloadTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput() //nolint:gosec // G204: the command is the administrator's
	if err != nil {
		return fmt.Errorf("running %q: %w: %s", command, err, strings.TrimSpace(string(out)))
	}
	return nil
}
