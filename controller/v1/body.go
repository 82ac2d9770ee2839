package v1

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sipio/sipio/brain"
)

// strictJSON takes no broken text: the decoder would replace each byte that is not UTF-8 and store the rest.
var strictJSON = huma.Format{
	Marshal: huma.DefaultJSONFormat.Marshal,
	Unmarshal: func(body []byte, into any) error {
		if !utf8.Valid(body) {
			return errors.New("the body is not UTF-8")
		}
		return json.Unmarshal(body, into)
	},
}

// shape is what is known of a resource's JSON before the first request: its schemas for a whole
// resource and for a part of it (PATCH), and which member lies in which field of the Go struct.
type shape[T any, P row[T]] struct {
	kind        brain.Kind
	whole, part *huma.Schema // references into the components of the OpenAPI document
	field       map[string]int
	member      []string // by field, "" for one that is not in JSON
	readOnly    map[string]bool
}

// shapeOf registers the schemas of T. The framework takes every member without omitempty for
// required; one that has a default is not.
func shapeOf[T any, P row[T]](registry huma.Registry, kind brain.Kind) *shape[T, P] {
	t := reflect.TypeFor[T]()
	s := &shape[T, P]{kind: kind, field: map[string]int{}, member: make([]string, t.NumField()), readOnly: map[string]bool{}}
	s.whole = registry.Schema(t, true, t.Name())
	schema := registry.SchemaFromRef(s.whole.Ref)
	for i := range s.member {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if member, ok := schema.Properties[name]; ok {
			s.field[name], s.member[i], s.readOnly[name] = i, name, member.ReadOnly
		}
	}
	schema.Required = slices.DeleteFunc(schema.Required, func(name string) bool {
		return s.readOnly[name] || schema.Properties[name].Default != nil
	})
	schema.PrecomputeMessages()
	s.part = partOf(registry, schema, t.Name()+"Patch")
	return s
}

// fresh is a resource of defaults.
func (s *shape[T, P]) fresh() T { return *brain.NewResource(s.kind).(P) }

// partOf registers the schema again with no member required and no default.
func partOf(registry huma.Registry, whole *huma.Schema, name string) *huma.Schema {
	part := *whole
	part.Required, part.Properties = nil, maps.Clone(whole.Properties)
	for member, schema := range part.Properties {
		optional := *schema
		optional.Default = nil
		part.Properties[member] = &optional
	}
	part.PrecomputeMessages()
	registry.Map()[name] = &part
	return &huma.Schema{Ref: "#/components/schemas/" + name}
}

// overlay puts the members that a body gives over a resource; null gives the default back. The body
// has passed the schema. A read-only member may be repeated as it is, never changed.
func (s *shape[T, P]) overlay(onto T, body []byte) (T, error) {
	from := s.fresh()
	var given map[string]json.RawMessage
	if err := json.Unmarshal(body, &given); err != nil {
		return onto, invalid(brain.FieldError{Text: err.Error()})
	}
	if err := json.Unmarshal(body, &from); err != nil {
		return onto, invalid(brain.FieldError{Text: err.Error()})
	}
	normal := brain.Clone(P(&from))
	brain.ApplyDefaults(normal) // one spelling, to compare what is read-only
	dst, src, same := reflect.ValueOf(&onto).Elem(), reflect.ValueOf(&from).Elem(), reflect.ValueOf(normal).Elem()
	var wrong []brain.FieldError
	for _, name := range slices.Sorted(maps.Keys(given)) {
		i, ok := s.field[name]
		switch {
		case !ok:
			wrong = append(wrong, brain.FieldError{Path: name, Text: "unknown field"})
		case !s.readOnly[name]:
			dst.Field(i).Set(src.Field(i))
		case !reflect.DeepEqual(same.Field(i).Interface(), dst.Field(i).Interface()):
			wrong = append(wrong, brain.FieldError{Path: name, Text: "is read-only"})
		}
	}
	return onto, invalid(wrong...)
}

// keep gives a replacement what no body can say: the read-only members, and fields that are not in JSON.
func (s *shape[T, P]) keep(onto *T, before T) {
	dst, src := reflect.ValueOf(onto).Elem(), reflect.ValueOf(&before).Elem()
	for i := range dst.NumField() {
		if s.member[i] == "" || s.readOnly[s.member[i]] {
			dst.Field(i).Set(src.Field(i))
		}
	}
}
