package control

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/table"
)

const actTime = 15 * time.Second // to write an act down, behind others who write

const (
	outcomeDone   = "done"
	outcomeDenied = "denied"
	outcomeFailed = "failed"
)

// record makes an event.
func (c *Control) record(ctx context.Context, e Event) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	level := slog.LevelInfo
	if c.o.Record != nil {
		level = slog.LevelDebug // whoever makes events of it shows them
	}
	c.log.Log(ctx, level, "control", "kind", e.Kind, "who", e.Who, "object", e.Object, "outcome", e.Outcome, "text", e.Text)
	if c.o.Record != nil {
		c.o.Record(ctx, e)
	}
}

// why is the reason that an administrator gave, or that a model was taken back for; and whose word did not count.
func why(detail any) string {
	switch d := detail.(type) {
	case admin.RevokeResult:
		return d.Reason
	case admin.ApplyResult:
		text := cmp.Or(d.Reason, d.Model.Note)
		if len(d.Without) > 0 {
			text = strings.TrimSuffix("without the word of "+strings.Join(d.Without, ", ")+": "+text, ": ")
		}
		return text
	case query.Hold:
		return admin.HoldText(&d)
	case admin.EraseResult:
		return admin.EraseText(&d)
	}
	return ""
}

// caller is an administrator whose word has been checked.
type caller struct {
	name string
	role admin.Role
}

// act writes down what an administrator did or tried: a row and an event. The row that cannot be written does not undo
// what was done; the event tells.
func (c *Control) act(ctx context.Context, who caller, verb, object string, result error, detail any) {
	outcome, text := outcomeDone, why(detail)
	if result != nil {
		outcome, text = outcomeFailed, plainly(result)
		if isDenied(result) {
			outcome = outcomeDenied
		}
	}
	switch d := detail.(type) {
	case shownOnce, linkOnce:
		detail = nil
	case admin.ApplyResult:
		if d.Outcome == admin.RolledBack {
			outcome = outcomeFailed
		}
	}
	data, err := json.Marshal(detail)
	if err != nil || detail == nil || result != nil {
		data = nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTime)
	defer cancel()
	row, kept := table.Act{At: time.Now(), Who: who.name, Role: string(who.role), Verb: verb, Object: object, Outcome: outcome}, string(data)
	if err = c.nameless(ctx, &row.Who, &row.Object, &kept); err == nil {
		row.Detail = []byte(kept)
		err = c.o.Store.Write(ctx, func(t *table.Tx) error {
			_, err := t.AddAct(ctx, row)
			return err
		})
	}
	if err != nil {
		c.log.ErrorContext(ctx, "act of an administrator not stored", "who", who.name, "verb", verb, "object", object, "error", err)
		text = fmt.Sprint(text, " (not stored: ", err, ")")
	}
	c.record(ctx, Event{Kind: verb, Who: who.name, Role: who.role, Object: object, Outcome: outcome, Text: text})
}
