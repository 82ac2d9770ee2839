package v1_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves, for every kind there is, that a secret can be changed as often as one likes and is never shown: whatever a kind
// marks writeOnly is changed by two PATCHes over a row that has all its secrets, and no answer repeats one.
func TestSecrets_ChangeTwiceAndAreNeverShown(t *testing.T) {
	const kept, given = "kept-by-the-store", "1234567890123456"
	tried := 0
	for _, kind := range brain.Kinds {
		for _, field := range writeOnly(kind) {
			tried++
			b := newBench(t)
			r := brain.NewResource(kind)
			row := reflect.ValueOf(r).Elem()
			row.FieldByName("ID").SetString("row_1")
			if owner := row.FieldByName("AccountID"); owner.IsValid() {
				owner.SetString("acc_acme")
			}
			for _, f := range writeOnly(kind) {
				row.FieldByIndex(f.Index).SetString(kept)
			}
			b.rows["row_1"] = r
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			path := fmt.Sprintf("/v1/%ss/row_1", kind)
			for range 2 {
				shown := b.want(200, tokenPlatform, "PATCH", path, fmt.Sprintf(`{%q:%q}`, name, given)).text +
					b.want(200, tokenPlatform, "GET", path, "").text
				if strings.Contains(shown, kept) || strings.Contains(shown, given) {
					t.Errorf("%s: %s is shown: %s", kind, name, shown)
				}
			}
		}
	}
	if tried < 15 {
		t.Errorf("only %d fields are secrets", tried)
	}
}

// writeOnly are the fields of a kind that no answer has.
func writeOnly(kind brain.Kind) (list []reflect.StructField) {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(brain.NewResource(kind)).Elem()) {
		if f.Tag.Get("writeOnly") == "true" {
			list = append(list, f)
		}
	}
	return list
}
