package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/sipio/sipio/brain"
)

// planOf writes ops as a plan, with names for ids. The draft has the ops applied.
func planOf(d *draft, ops []op) brain.Plan {
	plan := brain.Plan{Items: make([]brain.PlanItem, 0, len(ops))}
	for _, o := range ops {
		r := o.resource()
		item := brain.PlanItem{Op: o.kind, Kind: r.ResourceKind(), Account: d.accountName(r.OwnerID()), Name: d.called(r)}
		if o.kind == brain.OpUpdate {
			item.Fields = difference(d, o)
		}
		plan.Items = append(plan.Items, item)
	}
	return plan
}

// called is the name of a resource, which may refer to what the draft takes away.
func (d *draft) called(r brain.Resource) string {
	return called(r, func(k brain.Kind, owner, id string) brain.Resource {
		if there := d.get(k, owner, id); there != nil {
			return there
		}
		return d.base.get(k, owner, id)
	})
}

func (d *draft) accountName(owner string) string {
	if a := d.get(brain.KindAccount, owner, owner); a != nil {
		return brain.NameOf(a)
	}
	if c := d.base.ByAccount(owner); c != nil {
		return c.Account.Name
	}
	return ""
}

// difference lists the fields that an update changes, as an operator would write them.
func difference(d *draft, o op) []brain.FieldChange {
	before := flatten(named(o.before, d.base.get))
	after := flatten(named(o.after, d.get))
	var changes []brain.FieldChange
	for _, path := range slices.Concat(before.paths, after.paths) {
		was, is := before.values[path], after.values[path]
		if was != is && !slices.ContainsFunc(changes, func(c brain.FieldChange) bool { return c.Field == path }) {
			changes = append(changes, brain.FieldChange{Field: path, Old: was, New: is})
		}
	}
	was, is := secretsOf(o.before), secretsOf(o.after)
	for _, field := range sortedKeys(is) {
		if was[field] != is[field] {
			changes = append(changes, brain.FieldChange{Field: field, Old: "(secret)", New: "(changed)"})
		}
	}
	return changes
}

// secretsOf returns what is kept of a resource's secrets, by the field in which they are given.
func secretsOf(r brain.Resource) map[string]string {
	switch r := r.(type) {
	case *brain.SIPDevice:
		return map[string]string{"password": r.HA1MD5 + r.HA1SHA256}
	case *brain.Secret:
		return map[string]string{"value": r.Sealed}
	case *brain.Node:
		return map[string]string{"agent_token": r.AgentTokenSealed, "access_client_secret": r.AccessSecretSealed}
	case *brain.ConsoleUser:
		return map[string]string{"password": r.PasswordHash}
	case *brain.Voicemail:
		return map[string]string{"pin": r.PINHash}
	case *brain.Conference:
		return map[string]string{"pin": r.PINHash, "moderator_pin": r.ModeratorPINHash}
	}
	return nil
}

// named returns a copy of a resource with names in the place of ids.
func named(r brain.Resource, get func(k brain.Kind, owner, id string) brain.Resource) brain.Resource {
	c := brain.Clone(r)
	eachReference(c, func(_ string, kind brain.Kind, ref *string) {
		owner := r.OwnerID()
		if kind == brain.KindAccount {
			owner = *ref
		}
		if target := get(kind, owner, *ref); target != nil {
			*ref = brain.NameOf(target)
		}
	})
	return c
}

// hidden fields are in no plan and no export; neither are read-only ones.
var hidden = []string{"id", "account_id", "password", "ha1_md5", "ha1_sha256", "hash", "pin", "pin_hash", "moderator_pin", "moderator_pin_hash", "value", "sealed", "agent_token", "agent_token_sealed", "access_client_secret", "access_secret_sealed", "password_hash"}

func isHidden(k brain.Kind, name string) bool {
	return slices.Contains(hidden, name) || isReadOnly(k, name)
}

// flat is a resource as texts by path, in the order of its fields.
type flat struct {
	paths  []string
	values map[string]string
}

func flatten(r brain.Resource) flat {
	f := flat{values: make(map[string]string)}
	v := reflect.ValueOf(r).Elem()
	for _, field := range fields[r.ResourceKind()] {
		if !isHidden(r.ResourceKind(), field.name) {
			f.add(field.name, v.Field(field.index))
		}
	}
	return f
}

func (f *flat) add(path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			f.add(path, v.Elem())
		}
	case reflect.Map:
		for _, key := range namesIn(v) {
			f.add(path+"."+key, v.MapIndex(reflect.ValueOf(key)))
		}
	case reflect.Slice:
		if raw, ok := v.Interface().(json.RawMessage); ok {
			f.put(path, string(raw))
			return
		}
		for i := range v.Len() {
			f.add(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f.add(path+"."+jsonName(v.Type().Field(i)), v.Field(i))
		}
	default:
		f.put(path, text(v))
	}
}

func (f *flat) put(path, value string) {
	f.paths = append(f.paths, path)
	f.values[path] = value
}

func text(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	}
	return v.String()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
