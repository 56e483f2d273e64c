package audit

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
)

// Published serves the checkpoint and the tree of a ledger (C2SP tlog-tiles), beside them the newest checkpoint that witnesses have signed, and nothing else
// of where it lies. Whoever reaches it learns how
// many records there are, and hashes, and nothing of what a record says. It is mounted without the prefix of its URL. The func tells where
// the ledger is.
func Published(of func() (*Place, error), log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/")
		var text []byte
		at, err := of()
		if err == nil {
			text, err = at.public(r.Context(), path)
		}
		status := http.StatusOK
		switch {
		case errors.Is(err, fs.ErrNotExist):
			status = http.StatusNotFound
		case err != nil:
			status = http.StatusServiceUnavailable
			if r.Context().Err() == nil { // else nobody waits for it
				log.WarnContext(r.Context(), "the ledger cannot be shown", "path", path, "error", err)
			}
		}
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		switch {
		case status != http.StatusOK:
			http.Error(w, http.StatusText(status), status)
			return
		case path == checkpointFile || path == witnessedFile:
			h.Set("Content-Type", "text/plain; charset=utf-8")
			h.Set("Cache-Control", "no-cache")
		default:
			h.Set("Content-Type", "application/octet-stream")
			h.Set("Cache-Control", "public, max-age=31536000, immutable") // a tile never changes
		}
		_, _ = w.Write(text) //nolint:gosec // G705: tiles are bytes that no browser may take for a page; an asker that is gone needs no answer
	})
}

// public is a file that anybody may read.
func (p *Place) public(ctx context.Context, path string) ([]byte, error) {
	if path == witnessedFile {
		return readFrom(p.files(ctx), path)
	}
	return p.tree(ctx).Public(ctx, path)
}
