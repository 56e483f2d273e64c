package waf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strconv"
	"sync"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

// bodyLimit is what Coraza would refuse by itself; the filter's own bound is always lower.
const bodyLimit = int(maxBody) + 1

// corazaEngine is Coraza with the rule set compiled for one choice of settings.
type corazaEngine struct {
	waf   transactor
	rules *ruleIndex
	count int // rules as the engine counts them
	want  int // rules that the texts hold, less the excluded

	answers bool // it looks at answers too
}

// transactor is the part of a Coraza engine that is used.
type transactor interface {
	experimental.WAFWithOptions
	experimental.WAFWithRules
}

// adaptCoraza puts parts of ours in the place of Coraza's: its reader of multipart bodies writes every uploaded file
// to the disk, that of XML takes anything for XML, and its @rx searches every value. Coraza keeps them in maps of the
// whole process that it does not lock, so this happens once, before the first engine is made.
var adaptCoraza = sync.OnceFunc(func() {
	plugins.RegisterBodyProcessor("multipart", func() plugintypes.BodyProcessor { return multipartReader{} })
	plugins.RegisterBodyProcessor("xml", func() plugintypes.BodyProcessor { return xmlReader{} })
	plugins.RegisterOperator("rx", newRx)
})

var errEngine = errors.New("coraza lacks an interface that this version needs")

func newCoraza(w model.WAF, directives string, rules *ruleIndex, trace func(id, line string)) (*corazaEngine, error) {
	var files fs.FS = ruleFiles{coreruleset.FS}
	if trace != nil {
		files = coreruleset.FS // a line holds the text of its match
	}
	config := coraza.NewWAFConfig().
		WithRootFS(files).
		WithDirectives(directives).
		WithRequestBodyAccess().
		WithRequestBodyLimit(bodyLimit).
		WithRequestBodyInMemoryLimit(bodyLimit)
	if trace != nil {
		config = config.WithErrorCallback(func(m types.MatchedRule) { trace(m.TransactionID(), m.ErrorLog()) })
	}
	engine, err := coraza.NewWAF(config)
	if err != nil {
		return nil, fmt.Errorf("compiling the rules: %w", err)
	}
	t, ok := engine.(transactor)
	if !ok {
		return nil, errEngine
	}
	return &corazaEngine{waf: t, rules: rules, count: t.RulesCount(), want: rules.expected(w), answers: inspectsAnswers(w)}, nil
}

// complete reports an error unless the engine holds every rule that it should.
func (e *corazaEngine) complete() error {
	if e.count != e.want {
		return fmt.Errorf("the engine holds %d rules of %s, expected %d", e.count, e.rules.version, e.want)
	}
	return nil
}

// Inspect implements Engine with the request phases 1 and 2.
func (e *corazaEngine) Inspect(ctx context.Context, r *proxy.Request, body []byte) (Verdict, error) {
	x, v, err := e.open(ctx, r, body)
	if err != nil {
		return Verdict{}, err
	}
	if err := x.Close(); err != nil {
		return Verdict{}, err
	}
	return v, nil
}

// open runs the request phases. The Exchange must be closed; with an error there is none.
func (e *corazaEngine) open(ctx context.Context, r *proxy.Request, body []byte) (x *Exchange, v Verdict, err error) {
	tx := e.waf.NewTransactionWithOptions(experimental.Options{Context: ctx, ID: r.ID})
	x = &Exchange{engine: e, tx: tx}
	defer func() {
		if p := recover(); p != nil {
			x.broken, err = true, panicked(p)
		}
		if err != nil {
			err = errors.Join(err, x.Close())
			x, v = nil, Verdict{}
		}
	}()
	feedHead(tx, r)
	if tx.ProcessRequestHeaders() == nil {
		if err := feedBody(tx, body); err != nil {
			return x, v, err
		}
	}
	if err := ctx.Err(); err != nil {
		return x, v, err
	}
	return x, e.verdict(tx, requestRules), nil
}

// panicked makes an error of a panic without its value, which may quote the request.
func panicked(p any) error {
	if re, ok := p.(runtime.Error); ok {
		return fmt.Errorf("the engine panicked: %T", re)
	}
	return fmt.Errorf("the engine panicked: %T", p)
}

// feedHead gives the engine the head exactly as it is forwarded, and what the client said about its connection.
func feedHead(tx types.Transaction, r *proxy.Request) {
	tx.ProcessConnection(r.Client.String(), 0, "", 0)
	uri := r.Path
	if r.RawQuery != "" {
		uri += "?" + r.RawQuery
	}
	tx.ProcessURI(uri, r.Method, r.Proto)
	for i := range r.Header {
		tx.AddRequestHeader(r.Header[i].Name, r.Header[i].Value)
	}
	for i := range r.Hop {
		tx.AddRequestHeader(r.Hop[i].Name, r.Hop[i].Value)
	}
	if r.Proto == "HTTP/1.1" && r.Body != nil && r.Body.Declared() < 0 && !r.Header.Has("Transfer-Encoding") {
		tx.AddRequestHeader("Transfer-Encoding", "chunked") // hop by hop, so it is gone; yet rules ask how long a body is
	}
	if r.Host != "" && !r.Header.Has("Host") {
		tx.AddRequestHeader("Host", r.Host)
	}
	tx.SetServerName(r.Host)
}

var errPartial = errors.New("the engine did not take the whole body")

func feedBody(tx types.Transaction, body []byte) error {
	if len(body) > 0 && tx.IsRequestBodyAccessible() {
		it, n, err := tx.WriteRequestBody(body)
		if err != nil {
			return fmt.Errorf("handing over the body: %w", err)
		}
		if it != nil || n != len(body) {
			return errPartial
		}
	}
	if _, err := tx.ProcessRequestBody(); err != nil {
		return fmt.Errorf("processing the body: %w", err)
	}
	return nil
}

// side is which half of an exchange a verdict is about.
type side struct {
	from, to types.RulePhase // phases of its rules
	score    string          // name of its score
}

var (
	requestRules = side{types.PhaseRequestHeaders, types.PhaseRequestBody, "inbound_anomaly_score"}
	answerRules  = side{types.PhaseResponseHeaders, types.PhaseResponseBody, "outbound_anomaly_score"}
)

func (e *corazaEngine) verdict(tx types.Transaction, s side) Verdict {
	v := Verdict{Blocked: tx.IsInterrupted()}
	for _, m := range tx.MatchedRules() {
		info, known := e.rules.byID[m.Rule().ID()]
		if p := m.Rule().Phase(); p < s.from || p > s.to {
			continue
		}
		if !known || m.Message() == "" || !reported(info.id) {
			continue
		}
		v.Matches = append(v.Matches, Match{
			Rule:     info.id,
			Message:  message(info, m),
			Severity: severity(m.Rule().Severity()),
			Target:   target(m.MatchedDatas()),
			Tags:     info.tags,
		})
	}
	v.Score = score(tx, s.score)
	return v
}

// message is the rule's text without its macros, except for the rules that add up scores: theirs are numbers.
func message(info ruleInfo, m types.MatchedRule) string {
	if info.id >= 949000 && info.id < 950000 || info.id >= 959000 && info.id < 960000 || info.id >= 980000 && info.id < 990000 {
		return m.Message()
	}
	return info.message
}

// reported reports whether a match says something about the request: set-up rules (900000-909999) do not.
func reported(id int) bool { return id < 900000 || id >= 910000 }

// score returns the anomaly score of that name, by which the rule set blocks. Where a rule refused before the scores
// were added up, it is the sum of what had been found.
func score(tx types.Transaction, name string) int {
	state, ok := tx.(plugintypes.TransactionState)
	if !ok {
		return 0
	}
	get := func(name string) int {
		values := state.Variables().TX().Get(name)
		if len(values) == 0 {
			return 0
		}
		n, err := strconv.Atoi(values[0])
		if err != nil {
			return 0
		}
		return n
	}
	if n := get("blocking_" + name); n > 0 {
		return n
	}
	sum := 0
	for level := range 4 {
		sum += get(name + "_pl" + strconv.Itoa(level+1))
	}
	return sum
}

func severity(s types.RuleSeverity) string {
	switch s {
	case types.RuleSeverityEmergency, types.RuleSeverityAlert, types.RuleSeverityCritical,
		types.RuleSeverityError, types.RuleSeverityWarning, types.RuleSeverityNotice,
		types.RuleSeverityInfo, types.RuleSeverityDebug:
		return s.String()
	case types.RuleSeverityUnset:
	}
	return ""
}
