package config

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/sipio/sipio/brain"
)

// Export writes the configuration of one account, or with accountID "" of the whole platform, in the
// form that Apply reads: fields at their default are left out, and so are API keys and all credentials.
// Applying it, with Prune or without, changes nothing.
func (s *Store) Export(ctx context.Context, accountID string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	base := s.state.Load()
	if accountID != "" && base.ByAccount(accountID) == nil {
		return nil, notFound(brain.KindAccount, accountID)
	}
	var out bytes.Buffer
	if err := writeExport(&out, base, accountID); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return out.Bytes(), nil
}

func writeExport(out io.Writer, base *state, accountID string) error {
	list := exported(base, accountID)
	if len(list) == 0 {
		return nil // the encoder cannot write nothing
	}
	enc := yaml.NewEncoder(out)
	enc.SetIndent(2)
	for _, r := range list {
		if err := enc.Encode(export(base, r)); err != nil {
			return fmt.Errorf("%s %q: %w", r.ResourceKind(), brain.NameOf(r), err)
		}
	}
	return enc.Close()
}

// exported lists what is exported: nodes, then account by account, in the order of names.
func exported(base *state, accountID string) []brain.Resource {
	var owners []string
	for id := range base.tenants {
		if accountID == "" || accountID == id {
			owners = append(owners, id)
		}
	}
	accountName := func(id string) string {
		if c := base.ByAccount(id); c != nil {
			return c.Account.Name
		}
		return ""
	}
	slices.SortFunc(owners, func(a, b string) int { return cmp.Compare(accountName(a), accountName(b)) })
	var list []brain.Resource
	for _, owner := range owners {
		for _, k := range declared {
			rows := slices.Clone(base.tenants[owner].rows[k])
			names := make(map[brain.Resource]string, len(rows))
			for _, r := range rows {
				names[r] = called(r, base.get)
			}
			slices.SortFunc(rows, func(a, b brain.Resource) int { return cmp.Compare(names[a], names[b]) })
			list = append(list, rows...)
		}
	}
	return list
}

func export(base *state, r brain.Resource) *yaml.Node {
	doc := &yaml.Node{Kind: yaml.MappingNode}
	put(doc, "kind", scalar("!!str", string(r.ResourceKind())))
	if k := r.ResourceKind(); k != brain.KindAccount && r.OwnerID() != "" {
		put(doc, "account", scalar("!!str", base.ByAccount(r.OwnerID()).Account.Name))
	}
	put(doc, "name", scalar("!!str", called(r, base.get)))
	if spec := structNode(reflect.ValueOf(named(r, base.get)).Elem(), reflect.ValueOf(brain.NewResource(r.ResourceKind())).Elem(), func(name string) bool {
		return isHidden(r.ResourceKind(), name) || isName(r.ResourceKind(), name)
	}); len(spec.Content) > 0 {
		put(doc, "spec", spec)
	}
	return doc
}

// structNode writes the fields that differ from their defaults.
func structNode(v, defaults reflect.Value, skip func(name string) bool) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		name := jsonName(v.Type().Field(i))
		if skip(name) || reflect.DeepEqual(v.Field(i).Interface(), defaults.Field(i).Interface()) {
			continue
		}
		put(n, name, valueNode(v.Field(i)))
	}
	return n
}

func valueNode(v reflect.Value) *yaml.Node {
	switch v.Kind() {
	case reflect.Pointer:
		return valueNode(v.Elem())
	case reflect.Bool:
		return scalar("!!bool", text(v))
	case reflect.Int, reflect.Int64:
		return scalar("!!int", text(v))
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		for _, key := range namesIn(v) {
			put(n, key, valueNode(v.MapIndex(reflect.ValueOf(key))))
		}
		return n
	case reflect.Struct:
		n := structNode(v, reflect.Zero(v.Type()), func(string) bool { return false })
		if v.Type() != graphType {
			n.Style = yaml.FlowStyle // one line an item
		}
		return n
	case reflect.Slice:
		if raw, ok := v.Interface().(json.RawMessage); ok {
			return jsonNode(raw)
		}
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, valueNode(v.Index(i)))
		}
		return n
	}
	return scalar("!!str", v.String())
}

func scalar(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

func put(mapping *yaml.Node, key string, value *yaml.Node) {
	mapping.Content = append(mapping.Content, scalar("!!str", key), value)
}
