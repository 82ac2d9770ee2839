package v1_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"github.com/sipio/sipio/brain"
)

// The defaults that the OpenAPI document promises are the ones a new resource really gets.
func TestOpenAPI_PromisesTheRealDefaults(t *testing.T) {
	doc := newBench(t).want(200, "", "GET", "/v1/openapi.json", "")
	schemas := doc.body["components"].(map[string]any)["schemas"].(map[string]any)
	promises := 0
	for _, kind := range brain.Kinds {
		raw, err := json.Marshal(brain.NewResource(kind))
		if err != nil {
			t.Fatal(err)
		}
		var real map[string]any
		if err := json.Unmarshal(raw, &real); err != nil {
			t.Fatal(err)
		}
		for member, schema := range schemas[reflect.TypeOf(brain.NewResource(kind)).Elem().Name()].(map[string]any)["properties"].(map[string]any) {
			promised, ok := schema.(map[string]any)["default"]
			if !ok {
				continue
			}
			promises++
			if fmt.Sprint(promised) != fmt.Sprint(real[member]) {
				t.Errorf("%s.%s: promised %v, got %v", kind, member, promised, real[member])
			}
		}
	}
	if promises < 10 {
		t.Errorf("found only %d defaults in the document", promises)
	}
}
