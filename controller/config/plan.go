package config

import (
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
		item := brain.PlanItem{Op: o.kind, Kind: r.ResourceKind(), Account: d.accountName(r.OwnerID()), Name: nameOf(r)}
		if o.kind == brain.OpUpdate {
			item.Fields = difference(d, o)
		}
		plan.Items = append(plan.Items, item)
	}
	return plan
}

func (d *draft) accountName(owner string) string {
	if a := d.get(brain.KindAccount, owner, owner); a != nil {
		return nameOf(a)
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
	if secretOf(o.before) != secretOf(o.after) {
		changes = append(changes, brain.FieldChange{Field: "password", Old: "(secret)", New: "(changed)"})
	}
	return changes
}

func secretOf(r brain.Resource) string {
	if d, ok := r.(*brain.SIPDevice); ok {
		return d.HA1MD5 + d.HA1SHA256
	}
	return ""
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
			*ref = nameOf(target)
		}
	})
	return c
}

// hidden fields are in no plan and no export.
var hidden = []string{"id", "account_id", "password", "ha1_md5", "ha1_sha256", "hash"}

// flat is a resource as texts by path, in the order of its fields.
type flat struct {
	paths  []string
	values map[string]string
}

func flatten(r brain.Resource) flat {
	f := flat{values: make(map[string]string)}
	v := reflect.ValueOf(r).Elem()
	for _, field := range fields[r.ResourceKind()] {
		if !slices.Contains(hidden, field.name) {
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
	case reflect.Slice:
		for i := range v.Len() {
			f.add(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f.add(path+"."+jsonName(v.Type().Field(i)), v.Field(i))
		}
	default:
		f.paths = append(f.paths, path)
		f.values[path] = text(v)
	}
}

func text(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int:
		return strconv.FormatInt(v.Int(), 10)
	}
	return v.String()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
