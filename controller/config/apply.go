package config

import (
	"context"
	"fmt"

	"github.com/sipio/sipio/brain"
)

// Apply makes the configuration what the YAML document declares, as one revision, and returns what that
// changes and the version of the configuration after it. Fields that the document leaves out get their
// defaults, except the credentials of devices, the PINs, the values of secrets, and what the platform writes, which stay. Resources that it does not name stay, unless
// Prune is set: then those of the accounts it names are deleted, but never an account, a node, an API
// key or a console user. All mistakes are told at once, each with its line: EInvalid, and nothing is changed. EForbidden: see brain.ApplyOptions.Blind.
func (s *Store) Apply(ctx context.Context, actor string, doc []byte, opt brain.ApplyOptions) (brain.Plan, int64, error) {
	var plan brain.Plan
	parsed := parse(doc) // before the store is locked
	if opt.Blind {
		if err := parsed.noSecrets(); err != nil {
			return brain.Plan{}, 0, err
		}
	}
	version, err := s.write(ctx, actor, func(base *state) (proposal, error) {
		f := parsed
		if f == nil {
			f = parse(doc) // the attempt before this one has resolved the names in it
		}
		parsed = nil
		p := &planner{base: base, opt: opt, file: f, newID: newID, pins: s.PINs, sealer: s.Secrets}
		d := p.run()
		if list := f.mistakes.sorted(); len(list) > 0 {
			return proposal{}, &brain.Error{Code: brain.EInvalid, Text: "nothing was changed:", Fields: list}
		}
		plan = planOf(d, p.ops)
		return proposal{draft: d, ops: p.ops, why: "apply: ", only: opt.DryRun}, nil
	})
	if err != nil {
		return brain.Plan{}, 0, err
	}
	return plan, version, nil
}

// noSecrets refuses documents that give a secret, or what is made of one.
func (f *file) noSecrets() error {
	for _, doc := range f.docs {
		if brain.GivesSecret(doc.resource) {
			return brain.Errorf(brain.EForbidden, "line %d: %s %q is given a secret; to compare it with the one that is kept needs the scope %s",
				doc.lineOf("spec"), doc.kind, cut(doc.name), brain.ScopeConfigWrite)
		}
	}
	return nil
}

// FromYAML makes a directory of YAML documents alone, with ids counted through: to try decisions
// without a store. Devices may do without credentials there, as an exported file does. With any mistake
// there is no directory.
func FromYAML(doc []byte) (brain.Directory, []brain.FieldError) {
	count := 0
	counted := func(k brain.Kind) string {
		count++
		return fmt.Sprintf("%s_%026d", k.IDPrefix(), count)
	}
	f := parse(doc)
	p := &planner{base: newState(), file: f, newID: counted, offline: true, pins: forgetful, sealer: forgetfulSealer}
	d := p.run()
	if list := f.mistakes.sorted(); len(list) > 0 {
		return nil, list
	}
	return d.build(0, nil), nil
}
