package app

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long files must be quiet before they are read: editors write in several steps.
const settle = 250 * time.Millisecond

// watch reloads when a file of the model changes or someone asks for it. Folders are watched, not files,
// since editors and Kubernetes replace files.
func (e *edge) watch(ctx context.Context, reload <-chan struct{}) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching files: %w", err)
	}
	defer w.Close()
	e.watchFolders(w)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-w.Events:
			if e.concerns(ev.Name) {
				timer.Reset(settle)
			}
		case err := <-w.Errors:
			slog.WarnContext(ctx, "watching files", "error", err)
			timer.Reset(settle)
		case <-reload:
			e.reloadAndTell(ctx)
			e.watchFolders(w)
		case <-timer.C:
			e.reloadAndTell(ctx)
			e.watchFolders(w)
		}
	}
}

func (e *edge) files() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.declared.Files()
}

func (e *edge) watchFolders(w *fsnotify.Watcher) {
	e.mu.Lock()
	dirs := e.declared.Dirs() // where a new file can appear
	e.mu.Unlock()
	for _, f := range e.files() {
		dirs = append(dirs, filepath.Dir(f))
	}
	slices.Sort(dirs)
	for _, d := range slices.Compact(dirs) {
		if err := w.Add(d); err != nil {
			slog.Warn("watching a folder", "folder", d, "error", err)
		}
	}
}

// concerns reports whether a changed path is the model's: one of its files, a symbolic link's target folder
// being swapped, or a new policy or model file.
func (e *edge) concerns(path string) bool {
	base := filepath.Base(path)
	switch filepath.Ext(base) {
	case ".yaml", ".yml", ".cedar", ".json":
		return true
	}
	return base == "..data" || slices.Contains(e.files(), path)
}

// reloadAndTell reloads and says on the terminal what came of it.
func (e *edge) reloadAndTell(ctx context.Context) {
	before := e.engine.Table().Version
	version, findings, err := e.Reload(ctx)
	switch {
	case err != nil:
		e.refused = true
		e.o.tell(findings)
		slog.ErrorContext(ctx, "reload refused; the model before keeps serving", "error", err)
	case version != before:
		e.o.tell(findings)
		slog.InfoContext(ctx, "reloaded", "snapshot", short(version))
		e.refused = false
	case e.refused:
		slog.InfoContext(ctx, "the model is sound again, and what serves already", "snapshot", short(version))
		e.refused = false
	}
}

func short(version string) string { return version[:min(12, len(version))] }
