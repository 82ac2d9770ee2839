package config

import (
	"fmt"
	"slices"

	"github.com/sipio/sipio/brain"
)

// planner compares documents with a state and finds the ops that lead from one to the other.
type planner struct {
	base    *state
	opt     brain.ApplyOptions
	file    *file
	newID   func(brain.Kind) string
	offline bool // a device needs no credentials, a secret no value
	pins    PINs
	sealer  Sealer

	accounts map[string]string     // ids of the accounts that may be named, by name
	owners   map[string]*namespace // by id of the accounts that are named, "" for the platform
	byID     map[string]*document  // what the documents declare
	ops      []op
}

// namespace is the names of one account.
type namespace struct {
	existing map[brain.Kind]map[string]brain.Resource // in the base, by nameKey
	ids      map[brain.Kind]map[string]string         // after the change, by nameKey
}

func (p *planner) run() *draft {
	p.byID = make(map[string]*document, len(p.file.docs))
	p.owners = make(map[string]*namespace)
	p.findAccounts()
	p.dropRepeated()
	for _, k := range brain.Kinds { // accounts before what is in them
		for _, doc := range p.file.docs {
			if doc.kind == k {
				p.identify(doc)
			}
		}
	}
	p.forgetPruned()
	d := newDraft(p.base)
	for _, k := range brain.Kinds {
		for _, doc := range p.file.docs {
			if doc.kind == k {
				p.decide(doc)
			}
		}
	}
	p.prune()
	for _, o := range p.ops {
		o.apply(d)
	}
	for _, fault := range check(d, p.ops) {
		p.tell(fault)
	}
	return d
}

// findAccounts lists the accounts a document may name: all, or the one it is restricted to.
func (p *planner) findAccounts() {
	p.accounts = make(map[string]string, len(p.base.tenants))
	for id, t := range p.base.tenants {
		if t.config != nil && (p.opt.AccountID == "" || p.opt.AccountID == id) {
			p.accounts[t.config.Account.Name] = id
		}
	}
}

// dropRepeated tells of documents for a resource that an earlier one declares.
func (p *planner) dropRepeated() {
	first := make(map[string]*document, len(p.file.docs))
	p.file.docs = slices.DeleteFunc(p.file.docs, func(doc *document) bool {
		key := string(doc.kind) + "\x00" + doc.account + "\x00" + nameKey(doc.kind, doc.name)
		if other := first[key]; other != nil {
			p.add(doc, "name", "is declared already in line %d", other.lineOf("name"))
			return true
		}
		first[key] = doc
		return false
	})
}

func (p *planner) add(doc *document, path, format string, args ...any) {
	p.file.mistakes.add(doc.place(path), doc.lineOf(path), format, args...)
}

// identify gives the document's resource its id and its account: those it has, or new ones.
func (p *planner) identify(doc *document) {
	brain.ApplyDefaults(doc.resource)
	owner, ok := p.ownerOf(doc)
	if !ok {
		setID(doc.resource, p.newID(doc.kind)) // only to tell what else is wrong with it
		p.byID[doc.resource.ResourceID()] = doc
		return
	}
	if doc.kind == brain.KindAccount {
		setID(doc.resource, owner)
	} else {
		key := nameKey(doc.kind, doc.name)
		ns := p.namespace(owner)
		id := ns.ids[doc.kind][key]
		if id == "" {
			id = p.newID(doc.kind)
			ns.ids[doc.kind][key] = id
		}
		setID(doc.resource, id)
		setOwner(doc.resource, owner)
	}
	p.byID[doc.resource.ResourceID()] = doc
}

// ofPlatform tells whether the document's resource belongs to no account.
func (p *planner) ofPlatform(doc *document) bool {
	return doc.kind == brain.KindNode || maybePlatform(doc.kind) && doc.account == ""
}

// ownerOf finds the account that the document's resource is in ("" for the platform), or is.
func (p *planner) ownerOf(doc *document) (owner string, ok bool) {
	switch {
	case p.ofPlatform(doc) && p.opt.AccountID != "":
		p.add(doc, "kind", "a %s of the platform is declared with a key of the platform", doc.kind)
		return "", false
	case p.ofPlatform(doc):
		return "", true
	case doc.kind != brain.KindAccount && doc.account == "":
		return "", false // told already
	}
	name, path := doc.account, "account"
	if doc.kind == brain.KindAccount {
		name, path = doc.name, "name"
	}
	id := p.accounts[name]
	if id == "" && doc.kind == brain.KindAccount && p.opt.AccountID == "" {
		id = p.newID(brain.KindAccount)
		p.accounts[name] = id
	}
	if id == "" {
		p.add(doc, path, "no account %q that may be changed here", cut(name))
		return "", false
	}
	p.namespace(id)
	return id, true
}

func (p *planner) namespace(owner string) *namespace {
	if ns := p.owners[owner]; ns != nil {
		return ns
	}
	ns := &namespace{existing: make(map[brain.Kind]map[string]brain.Resource), ids: make(map[brain.Kind]map[string]string)}
	for _, k := range declared {
		ns.existing[k], ns.ids[k] = make(map[string]brain.Resource), make(map[string]string)
		if t := p.base.tenants[owner]; t != nil {
			for _, r := range t.rows[k] {
				key := nameKey(k, called(r, p.base.get))
				ns.existing[k][key], ns.ids[k][key] = r, r.ResourceID()
			}
		}
	}
	p.owners[owner] = ns
	return ns
}

// forgetPruned takes the names out that will not be there any more: a reference to one is dangling.
func (p *planner) forgetPruned() {
	p.eachPruned(func(ns *namespace, r brain.Resource) {
		delete(ns.ids[r.ResourceKind()], nameKey(r.ResourceKind(), called(r, p.base.get)))
	})
}

// prune adds the deletes, in the order in which nothing refers to what is gone.
func (p *planner) prune() {
	var ops []op
	p.eachPruned(func(_ *namespace, r brain.Resource) { ops = append(ops, opOf(r, nil)) })
	slices.SortStableFunc(ops, func(a, b op) int {
		return slices.Index(brain.Kinds, b.before.ResourceKind()) - slices.Index(brain.Kinds, a.before.ResourceKind())
	})
	p.ops = append(p.ops, ops...)
}

func (p *planner) eachPruned(visit func(ns *namespace, r brain.Resource)) {
	if !p.opt.Prune {
		return
	}
	for _, owner := range sortedKeys(p.owners) {
		if owner == "" || p.base.tenants[owner] == nil {
			continue
		}
		for _, k := range declared {
			for _, r := range p.base.tenants[owner].rows[k] {
				if k != brain.KindAccount && k != brain.KindConsoleUser && p.byID[r.ResourceID()] == nil {
					visit(p.owners[owner], r)
				}
			}
		}
	}
}

// decide resolves the document's references and finds out whether anything changes.
func (p *planner) decide(doc *document) {
	r := doc.resource
	owner := r.OwnerID()
	ns := p.owners[owner]
	if ns == nil || !p.ofPlatform(doc) && owner == "" {
		p.fieldsOnly(doc)
		return
	}
	eachReference(r, func(path string, kind brain.Kind, ref *string) { p.resolve(doc, ns, path, kind, ref) })
	before := ns.existing[doc.kind][nameKey(doc.kind, doc.name)]
	keepReadOnly(before, r)
	if flow, ok := r.(*brain.CallFlow); ok {
		brain.ApplyDefaults(flow) // ids are in the place of names now
		old, _ := before.(*brain.CallFlow)
		flow.Publish(old)
	}
	p.seal(doc, before)
	if before != nil && same(before, r) {
		return
	}
	if doc.kind == brain.KindAccount && p.opt.AccountID != "" {
		p.add(doc, "spec", "an account is changed with a key of the platform")
		return
	}
	p.ops = append(p.ops, opOf(before, r))
}

// fieldsOnly tells what is wrong with a document that has no place to go.
func (p *planner) fieldsOnly(doc *document) {
	for _, fault := range checkFields(doc.resource) {
		p.tell(fault)
	}
}

// resolve turns a name into an id. An empty name is left for brain.Validate to tell of.
func (p *planner) resolve(doc *document, ns *namespace, path string, kind brain.Kind, ref *string) {
	if *ref == "" {
		return
	}
	id := ns.ids[kind][nameKey(kind, *ref)]
	where := fmt.Sprintf("in account %q", cut(doc.account))
	if kind == brain.KindAccount {
		id, where = p.parent(doc, *ref), "that may be named here"
		if doc.kind == brain.KindOutboundRoute {
			id = p.child(doc, *ref)
		}
	}
	if id == "" {
		place, line := doc.fieldPlace(path)
		p.file.mistakes.add(place, line, "no %s %q %s", kind, cut(*ref), where)
		return
	}
	*ref = id
}

// parent finds the account that is named as a parent. Restricted to one account, that is only the
// parent it has.
func (p *planner) parent(doc *document, name string) string {
	if id := p.accounts[name]; id != "" || p.opt.AccountID == "" {
		return id
	}
	if c := p.base.ByAccount(doc.resource.ResourceID()); c != nil && c.Account.ParentID != nil {
		if parent := p.base.ByAccount(*c.Account.ParentID); parent != nil && parent.Account.Name == name {
			return parent.Account.ID
		}
	}
	return ""
}

// child finds the account that is named as one whose calls a route is for. Restricted to one account, that is only one below it.
func (p *planner) child(doc *document, name string) string {
	if id := p.accounts[name]; id != "" || p.opt.AccountID == "" {
		return id
	}
	for id, t := range p.base.tenants {
		if t.config != nil && t.config.Account.Name == name && descends(id, p.opt.AccountID, p.base.parentOf) {
			return id
		}
	}
	return ""
}

// tell finds the line for a fault of a resource.
func (p *planner) tell(fault brain.RowError) {
	if doc := p.byID[fault.Resource.ResourceID()]; doc != nil {
		place, line := doc.fieldPlace(fault.Path)
		p.file.mistakes.add(place, line, "%s", fault.Text)
		return
	}
	place := fmt.Sprintf("%s %q: %s", fault.Resource.ResourceKind(), called(fault.Resource, p.base.get), fault.Path)
	p.file.mistakes.add(place, 0, "%s (not in the document)", fault.Text)
}
