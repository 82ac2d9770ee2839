package config

import (
	"context"
	"fmt"
	"strings"

	"github.com/sipio/sipio/brain"
)

// op is one row of a change set. A create has no before, a delete no after.
type op struct {
	kind          brain.ChangeOp
	before, after brain.Resource
}

func opOf(before, after brain.Resource) op {
	switch {
	case before == nil:
		return op{brain.OpCreate, nil, after}
	case after == nil:
		return op{brain.OpDelete, before, nil}
	}
	return op{brain.OpUpdate, before, after}
}

// resource is the newest state there is of the row.
func (o op) resource() brain.Resource {
	if o.after != nil {
		return o.after
	}
	return o.before
}

func (o op) apply(d *draft) {
	if o.after == nil {
		d.remove(o.before)
		return
	}
	d.put(o.after)
}

// Change makes all the changes or none, as one revision, and returns the version of the configuration
// after it; when nothing differs there is no revision. Directory shows the change when Change returns.
// On success the resources hold what was stored: new ids, defaults, digests instead of passwords.
//
// A create takes no id, except that of a mailbox message; one that is there is EConflict. An update replaces the whole resource; of a device without password and
// digests, of a mailbox or a conference without PIN and hash, of an API key without a hash, and of a secret without a value, the old ones
// stay. Making a domain primary takes it from the one that was. Version and LiveGraph of a call flow are the
// store's (see brain.CallFlow.Publish). Errors: EInvalid with every mistake in Fields, EConflict (name taken, still in
// use, changed meanwhile), ENotFound (also for what is another account's).
func (s *Store) Change(ctx context.Context, actor string, changes ...brain.Change) (int64, error) {
	var stored []brain.Resource
	version, err := s.write(ctx, actor, func(base *state) (proposal, error) {
		p := &preparation{base: base, pins: s.PINs, sealer: s.Secrets, seen: make(map[string]bool), single: len(changes) == 1}
		for _, c := range changes {
			if err := p.add(c); err != nil {
				return proposal{}, err
			}
		}
		ops := p.demotePrimary()
		d := newDraft(base)
		for _, o := range ops {
			o.apply(d)
		}
		stored = p.stored
		return proposal{draft: d, ops: ops}, p.verdict(check(d, ops))
	})
	if err != nil {
		return 0, err
	}
	for i, c := range changes {
		if c.Op != brain.OpDelete {
			assign(c.Resource, brain.Clone(stored[i]))
		}
	}
	return version, nil
}

// preparation turns the changes asked for into ops: ids, defaults, digests, what was there before.
type preparation struct {
	base   *state
	pins   PINs
	sealer Sealer
	single bool // paths of mistakes need not name the resource
	ops    []op
	stored []brain.Resource // by change: the resource as it will be, nil for a delete
	seen   map[string]bool  // ids
	faults []brain.RowError
}

func (p *preparation) add(c brain.Change) error {
	if c.Resource == nil {
		return brain.Errorf(brain.EInvalid, "a change without a resource")
	}
	r := brain.Clone(c.Resource)
	kind, owner, id := r.ResourceKind(), r.OwnerID(), r.ResourceID()
	var before brain.Resource
	switch c.Op {
	case brain.OpCreate:
		if err := p.create(r); err != nil {
			return err
		}
	case brain.OpUpdate, brain.OpDelete:
		if before = p.base.get(kind, owner, id); before == nil {
			return notFound(kind, id)
		}
		if p.seen[id] {
			return brain.Errorf(brain.EInvalid, "%s %q is changed twice in one change set", kind, id)
		}
		if c.Before != nil && !same(before, c.Before) {
			return brain.Errorf(brain.EConflict, "%s %q was changed meanwhile", kind, id)
		}
		p.seen[id] = true
	default:
		return brain.Errorf(brain.EInvalid, "no change is called %q", string(c.Op))
	}
	if c.Op == brain.OpDelete {
		p.ops, p.stored = append(p.ops, opOf(before, nil)), append(p.stored, nil)
		return nil
	}
	brain.ApplyDefaults(r)
	p.secrets(before, r)
	if flow, ok := r.(*brain.CallFlow); ok {
		old, _ := before.(*brain.CallFlow)
		flow.Publish(old)
	}
	p.stored = append(p.stored, r)
	if before == nil || !same(before, r) {
		p.ops = append(p.ops, opOf(before, r))
	}
	return nil
}

func (p *preparation) create(r brain.Resource) error {
	kind, owner := r.ResourceKind(), r.OwnerID()
	switch {
	case kind == brain.KindVoicemailMessage && r.ResourceID() != "": // named by the call that left it, to be entered once
		if p.base.get(kind, owner, r.ResourceID()) != nil {
			return brain.Errorf(brain.EConflict, "%s %q is there", kind, r.ResourceID())
		}
	case r.ResourceID() != "":
		p.fault(r, "id", "is given by the store")
		fallthrough
	default:
		setID(r, newID(kind))
	}
	switch {
	case kind == brain.KindAccount || kind == brain.KindNode || maybePlatform(kind) && owner == "":
	case owner == "":
		return &brain.Error{Code: brain.EInvalid, Fields: []brain.FieldError{{Path: "account_id", Text: "is required"}}}
	case p.base.ByAccount(owner) == nil:
		return notFound(brain.KindAccount, owner)
	}
	return nil
}

func (p *preparation) fault(r brain.Resource, path, text string) {
	p.faults = append(p.faults, brain.RowError{Resource: r, FieldError: brain.FieldError{Path: path, Text: text}})
}

// demotePrimary adds the updates that make room for a new primary domain.
func (p *preparation) demotePrimary() []op {
	ops := p.ops
	for _, o := range p.ops {
		d, ok := o.after.(*brain.SIPDomain)
		if !ok || !d.IsPrimary || p.base.tenants[d.AccountID] == nil {
			continue
		}
		for _, r := range p.base.tenants[d.AccountID].rows[brain.KindSIPDomain] {
			if old := r.(*brain.SIPDomain); old.IsPrimary && old.ID != d.ID && !p.seen[old.ID] {
				p.seen[old.ID] = true
				changed := *old
				changed.IsPrimary = false
				ops = append(ops, opOf(old, &changed))
			}
		}
	}
	return ops
}

// verdict makes one error of all faults: a mistake in a resource of the change set is EInvalid; a taken
// name, or a resource that the change set would leave broken, is EConflict.
func (p *preparation) verdict(found []brain.RowError) error {
	mine := make(map[string]bool, len(p.stored))
	for _, r := range p.stored {
		if r != nil {
			mine[r.ResourceID()] = true
		}
	}
	var invalid []brain.FieldError
	var conflicts []string
	before := "" // what the last of them is about
	told := make(map[string]bool)
	for _, f := range append(p.faults, found...) {
		place := fmt.Sprintf("%s %q: %s", f.Resource.ResourceKind(), called(f.Resource, p.base.get), f.Path)
		if told[place] {
			continue
		}
		told[place] = true
		if f.Taken || !mine[f.Resource.ResourceID()] {
			text, of := p.conflict(place, f)
			if of != "" && of == before {
				text = strings.TrimPrefix(text, of)
			}
			conflicts, before = append(conflicts, text), of
			continue
		}
		if p.single {
			place = f.Path
		}
		invalid = append(invalid, brain.FieldError{Path: place, Text: f.Text})
	}
	switch {
	case len(invalid) > 0:
		return &brain.Error{Code: brain.EInvalid, Text: "invalid", Fields: invalid}
	case len(conflicts) > maxConflicts:
		return brain.Errorf(brain.EConflict, "%s; and %d more", strings.Join(conflicts[:maxConflicts], "; "), len(conflicts)-maxConflicts)
	case len(conflicts) > 0:
		return brain.Errorf(brain.EConflict, "%s", strings.Join(conflicts, "; "))
	}
	return nil
}

// conflict says why a change set may not be made: what else is wrong at a place, or that what it takes away is still named; then of is
// how the text begins.
func (p *preparation) conflict(place string, f brain.RowError) (text, of string) {
	for _, o := range p.ops {
		gone := o.before
		if gone == nil || f.Missing == "" || gone.ResourceKind() != f.MissingKind {
			continue
		}
		if name := called(gone, p.base.get); gone.ResourceID() == f.Missing || strings.EqualFold(name, f.Missing) {
			of = fmt.Sprintf("%s %q is still named ", f.MissingKind, name)
			return of + fmt.Sprintf("by %s %q (%s)", f.Resource.ResourceKind(), called(f.Resource, p.base.get), f.Path), of
		}
	}
	return place + ": " + f.Text, ""
}

// maxConflicts bounds the text of an EConflict.
const maxConflicts = 10

// summary counts what a change set does, or names it when it does one thing.
func summary(d *draft, ops []op) string {
	if len(ops) == 1 {
		r := ops[0].resource()
		return fmt.Sprintf("%s %s %q", ops[0].kind, r.ResourceKind(), d.called(r))
	}
	var parts []string
	for _, kind := range []brain.ChangeOp{brain.OpCreate, brain.OpUpdate, brain.OpDelete} {
		for _, k := range brain.Kinds {
			count := 0
			for _, o := range ops {
				if o.kind == kind && o.resource().ResourceKind() == k {
					count++
				}
			}
			if count > 0 {
				parts = append(parts, fmt.Sprintf("%s %d %s", kind, count, k))
			}
		}
	}
	return strings.Join(parts, ", ")
}
