package app

import (
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"

	"github.com/palisade-security/palisade/intake"
	"github.com/palisade-security/palisade/model"
)

// collect begins to read what sources have on this host: files, and its journal.
func (e *edge) collect(in *intake.Intake, declared *model.ResolvedIntake) error {
	for _, s := range declared.Sources {
		if !s.Journal {
			continue
		}
		if _, err := exec.LookPath("journalctl"); err != nil {
			return fmt.Errorf("sources.%s.journal: no journalctl is here, which reads the journal: %w", s.Name, err)
		}
	}
	for _, s := range declared.Sources {
		failed := func(what string, err error) {
			slog.WarnContext(e.ctx, "a log cannot be read", "source", s.Name, "log", what, "error", err)
		}
		place := filepath.Join(e.state, "intake", s.Name)
		run := func(what string, follow func() error) { // that no log can be read must not end the gateway
			e.group.Go(func() error {
				if err := follow(); err != nil {
					failed(what, err)
				}
				return nil
			})
		}
		if len(s.Files) > 0 {
			run("files", func() error {
				return in.Follow(e.ctx, intake.Files{Source: s.Name, Patterns: s.Files, Format: s.Format, Place: place + ".files.json", Failed: failed})
			})
		}
		if s.Journal {
			run("journal", func() error {
				return in.FollowJournal(e.ctx, intake.Journal{Source: s.Name, Place: place + ".journal.json", Failed: func(err error) { failed("journal", err) }})
			})
		}
	}
	return nil
}
