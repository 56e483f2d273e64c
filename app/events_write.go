package app

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// eventWriter shows events in one of the formats.
type eventWriter struct {
	out   io.Writer
	style observe.Style
	kind  string
	csv   *csv.Writer
	table *tabwriter.Writer
}

// newEventWriter writes the head of what has one.
func (o *Options) newEventWriter(format string) *eventWriter {
	if format == "" && o.JSON {
		format = "json"
	}
	w := &eventWriter{out: o.Out, style: o.style(), kind: format}
	switch format {
	case "csv":
		w.csv = csv.NewWriter(o.Out)
		head := make([]string, 0, len(query.Fields()))
		for _, f := range query.Fields() {
			head = append(head, f.String())
		}
		_ = w.csv.Write(head) // flush tells
	case "table":
		w.table = tabwriter.NewWriter(o.Out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w.table, "TIME\tKIND\tOUTCOME\tSTATUS\tSERVICE\tWHO\tWHAT\tREASON\tTOOK\tID")
	}
	return w
}

func (w *eventWriter) write(e *event.Event) error {
	switch w.kind {
	case "json":
		_, err := w.out.Write(append(event.AppendJSON(nil, e), '\n'))
		return err
	case "csv":
		row := make([]string, 0, len(query.Fields()))
		for _, f := range query.Fields() {
			row = append(row, cell(valueOf(e, f)))
		}
		return w.csv.Write(row)
	case "table":
		who := cmp.Or(query.TextOf(e, query.User), query.TextOf(e, query.Caller), "-")
		what := strings.TrimSpace(e.Method + " " + e.Host + e.Path)
		if e.Act != nil {
			what = e.Act.Object
		}
		_, err := fmt.Fprintf(w.table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			e.Time.Local().Format("01-02 15:04:05.000"), query.KindOf(e), query.OutcomeOf(e), cmp.Or(blank(e.Status), "-"), shownCell(query.TextOf(e, query.Service)),
			shownCell(who), shownCell(what), cmp.Or(query.ReasonOf(e), "-"), e.Took.Round(time.Microsecond), e.ID)
		return err
	}
	_, err := io.WriteString(w.out, observe.Line(e, w.style)+"\n")
	return err
}

// flush shows what was written.
func (w *eventWriter) flush() error {
	switch {
	case w.csv != nil:
		w.csv.Flush()
		return w.csv.Error()
	case w.table != nil:
		return w.table.Flush()
	}
	return nil
}

func blank(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

const widest = 60 // characters of a cell of a table

func shownCell(s string) string {
	s = observe.Printable(s)
	if r := []rune(s); len(r) > widest {
		s = string(r[:widest-1]) + "…"
	}
	return cmp.Or(s, "-")
}

// valueOf is a field as programs read it: times in RFC 3339, durations in seconds.
func valueOf(e *event.Event, f query.Field) string {
	switch f {
	case query.Time:
		return e.Time.UTC().Format(time.RFC3339Nano)
	case query.Duration:
		return strconv.FormatFloat(e.Took.Seconds(), 'f', -1, 64)
	case query.Status:
		return blank(e.Status)
	default:
		return query.TextOf(e, f)
	}
}

// cell keeps spreadsheets from taking what strangers wrote for a formula.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

const defaultTop = 10

// countEvents prints how many events there are by a field, and over time if asked to.
func (o *Options) countEvents(ctx context.Context, from *finder, q *EventQuery, meant query.Query) error {
	by := query.FieldNamed(q.Count)
	if !by.Countable() {
		var names []string
		for _, f := range query.Fields() {
			if f.Countable() {
				names = append(names, f.String())
			}
		}
		return fmt.Errorf("--count %s: events are not counted by that; choose one of %s", q.Count, strings.Join(names, ", "))
	}
	top := cmp.Or(q.Top, defaultTop)
	if q.Per == 0 {
		c, err := from.Count(ctx, meant, by, top)
		if err != nil {
			return err
		}
		return o.printCounts(q.Format, by, c)
	}
	if meant.To.IsZero() {
		meant.To = time.Now()
	}
	if meant.From.IsZero() {
		meant.From = meant.To.Add(-min(24*time.Hour, query.MaxBuckets/2*q.Per))
	}
	s, err := from.Histogram(ctx, meant, q.Per, by, top)
	if err != nil {
		return err
	}
	return o.printSeries(q.Format, by, s)
}

func (o *Options) printCounts(format string, by query.Field, c *query.Counts) error {
	if format == "json" {
		type count struct {
			Value string `json:"value"`
			Count int64  `json:"count"`
		}
		top := make([]count, 0, len(c.Top))
		for _, one := range c.Top {
			top = append(top, count(one))
		}
		return writeJSON(o.Out, struct {
			By     string  `json:"by"`
			Total  int64   `json:"total"`
			Values int     `json:"values"`
			Top    []count `json:"top"`
		}{by.String(), c.Total, c.Values, top})
	}
	rows := [][]string{{by.String(), "count"}}
	for _, one := range c.Top {
		rows = append(rows, []string{one.Value, strconv.FormatInt(one.Count, 10)})
	}
	if err := o.printRows(format, rows); err != nil || format == "csv" {
		return err
	}
	rest := ""
	if c.Values > len(c.Top) {
		rest = fmt.Sprintf(", %d more values", c.Values-len(c.Top))
	}
	_, err := fmt.Fprintf(o.Out, "%d events%s\n", c.Total, rest)
	return err
}

func (o *Options) printSeries(format string, by query.Field, s *query.Series) error {
	if format == "json" {
		type line struct {
			Value  string  `json:"value"`
			Counts []int64 `json:"counts"`
		}
		lines := make([]line, 0, len(s.By))
		for _, one := range s.By {
			lines = append(lines, line(one))
		}
		return writeJSON(o.Out, struct {
			By   string    `json:"by"`
			From time.Time `json:"from"`
			Step string    `json:"step"`
			All  []int64   `json:"all"`
			Top  []line    `json:"top"`
		}{by.String(), s.From, s.Step.String(), s.All, lines})
	}
	head := []string{"time", "all"}
	for _, line := range s.By {
		head = append(head, cmp.Or(line.Value, "none"))
	}
	rows := [][]string{head}
	for i, n := range s.All {
		row := []string{s.From.Add(time.Duration(i) * s.Step).UTC().Format(time.RFC3339), strconv.FormatInt(n, 10)}
		for _, line := range s.By {
			row = append(row, strconv.FormatInt(line.Counts[i], 10))
		}
		rows = append(rows, row)
	}
	return o.printRows(format, rows)
}

// printRows prints rows, the first of which is the head.
func (o *Options) printRows(format string, rows [][]string) error {
	if format == "csv" {
		w := csv.NewWriter(o.Out)
		for _, row := range rows {
			row = slices.Clone(row)
			for i := range row {
				row[i] = cell(row[i])
			}
			if err := w.Write(row); err != nil {
				return err
			}
		}
		w.Flush()
		return w.Error()
	}
	w := tabwriter.NewWriter(o.Out, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		shown := make([]string, len(row))
		for i := range row {
			shown[i] = shownCell(row[i])
		}
		fmt.Fprintln(w, strings.Join(shown, "\t"))
	}
	return w.Flush()
}
