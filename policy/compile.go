package policy

import (
	"cmp"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/palisade-security/palisade/model"
)

// compiler gathers rules and findings on the way from a snapshot to a Set.
type compiler struct {
	snap      *model.Snapshot
	methods   []string
	claims    map[string]string
	roles     map[string][]cedar.EntityUID
	services  map[string]bool
	routes    map[string]*model.ResolvedRoute
	providers map[string]bool
	schema    string
	validator *validate.Validator // nil: the schema could not be made
	entities  cedar.EntityMap
	rules     []*rule
	byID      map[string]*rule
	findings  []model.Finding
	routed    map[string]*routeCells
	index     *index
	common    []*rule    // that hold on every route
	scope     []coverage // by order of rule
}

func newCompiler(snap *model.Snapshot) *compiler {
	c := &compiler{
		snap: snap, methods: methodsOf(snap), claims: map[string]string{}, roles: map[string][]cedar.EntityUID{},
		services: map[string]bool{}, routes: map[string]*model.ResolvedRoute{}, providers: map[string]bool{},
		byID: map[string]*rule{},
	}
	for i := range snap.Roles {
		role := &snap.Roles[i]
		uids := []cedar.EntityUID{roleUID(role.Name)}
		for _, name := range role.Includes {
			if name != role.Name {
				uids = append(uids, roleUID(name))
			}
		}
		c.roles[role.Name] = uids
	}
	for i := range snap.Services {
		c.services[snap.Services[i].Name] = true
	}
	for i := range snap.Routes {
		c.routes[snap.Routes[i].ID] = &snap.Routes[i]
	}
	c.collectClaims()
	c.entities = staticEntities(snap, c.methods)
	c.makeSchema()
	return c
}

// collectClaims merges the claims of all providers. Policies see one record, so one name has one type.
func (c *compiler) collectClaims() {
	by := map[string]string{}
	for i := range c.snap.Providers {
		p := &c.snap.Providers[i]
		c.providers[p.Name] = true
		if strings.Contains(p.Name, "|") {
			c.find(model.Finding{
				Severity: model.Error, Code: "provider-name", Key: "providers." + p.Name,
				Text: "a provider's name must not contain |, which separates it from the subject in User::\"<provider>|<subject>\"",
			})
		}
		for name, kind := range p.Claims {
			if old, ok := c.claims[name]; ok && old != kind {
				c.find(model.Finding{
					Severity: model.Error, Code: "claim-type", Key: "providers." + p.Name + ".claims." + name,
					Text: "claim " + quote(name) + " is declared as " + kind + " here and as " + old +
						" by provider " + quote(by[name]) + "; policies see one type",
				})
				continue
			}
			c.claims[name], by[name] = kind, p.Name
		}
	}
}

// makeSchema generates the schema and the validator for it. The schema comes from names of the model only, so
// a failure is a name that Cedar cannot hold.
func (c *compiler) makeSchema() {
	c.schema = schemaText(c.claims, paramsOf(c.snap), c.methods)
	var s schema.Schema
	s.SetFilename("schema.cedarschema")
	err := s.UnmarshalCedar([]byte(c.schema))
	if err == nil {
		var resolved *resolved.Schema
		if resolved, err = s.Resolve(); err == nil {
			c.validator = validate.New(resolved, validate.WithStrict())
			return
		}
	}
	c.find(model.Finding{
		Severity: model.Error, Code: "policy-schema",
		Text: "no Cedar schema can be made of this model: " + err.Error(),
	})
}

// set builds the Set once nothing is wrong.
func (c *compiler) set() *Set {
	return &Set{
		schema: c.schema, rules: c.rules, byID: c.byID, routes: c.routed, roles: c.roles,
		claims: c.claims, entities: c.entities, common: c.common,
	}
}

// link indexes the rules and computes the candidates of every method on every route.
func (c *compiler) link() {
	c.index = newIndex(c.rules)
	type method struct {
		name   string
		action cedar.EntityUID
		groups []cedar.EntityUID
		common *cell
	}
	c.common = c.index.ofKind(typeRoute)
	methods := make([]method, len(c.methods))
	for i, m := range c.methods {
		action := cedar.NewEntityUID(typeAction, cedar.String(m))
		groups := ancestors(c.entities, action)
		common := newCell(c.common, action, groups)
		methods[i] = method{m, action, groups, &common}
	}
	c.routed = make(map[string]*routeCells, len(c.snap.Routes))
	for i := range c.snap.Routes {
		r := &c.snap.Routes[i]
		uid := routeUID(r.ID)
		rc := &routeCells{uid: uid, methods: r.Methods, cells: make(map[string]*methodCell, len(c.methods))}
		rc.named = c.index.named(uid, ancestors(c.entities, uid))
		for _, m := range methods {
			rc.cells[m.name] = &methodCell{own: newCell(rc.named, m.action, m.groups), common: m.common, action: m.action}
		}
		c.routed[r.ID] = rc
	}
}

func (c *compiler) find(f model.Finding) { c.findings = append(c.findings, f) }

// compareFindings orders by place, errors first.
func compareFindings(a, b model.Finding) int {
	return cmp.Or(
		strings.Compare(a.Position.File, b.Position.File),
		cmp.Compare(a.Position.Line, b.Position.Line),
		cmp.Compare(a.Position.Column, b.Position.Column),
		strings.Compare(string(a.Severity), string(b.Severity)),
	)
}
