package endpoint

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// The hand-written encoder must write what encoding/json writes, byte for byte, for any directive:
// every field set, every field empty, and random mixtures with strings that need escaping. A field
// added to the wire and forgotten in the encoder fails here.
func TestAppendRouteReply_WritesWhatEncodingJSONWrites(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 3000 {
		var r api.RouteReply
		filled := []float64{1, 0, 0.5}[min(round, 2)]
		fill(reflect.ValueOf(&r).Elem(), random, filled)
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(&r); err != nil {
			t.Fatal(err)
		}
		if got := appendRouteReply(nil, &r); !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("round %d:\n%s\nwant\n%s", round, got, &want)
		}
	}
}

var awkward = []string{"x", "sip:1001@example.com", "a\"b", `a\b`, "a\r\nb", "\x00", "\x7f", "Bö", "日本", "\xff", "\u2028", "<&>", "😀 → b"}

// fill sets each field with the given probability.
func fill(v reflect.Value, random *rand.Rand, probability float64) {
	if v.Kind() != reflect.Struct && random.Float64() >= probability {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), random, probability)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), random, probability)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), random.IntN(3), 3))
		if probability == 1 {
			v.SetLen(2)
		}
		for i := range v.Len() {
			fill(v.Index(i), random, probability)
		}
	case reflect.String:
		v.SetString(awkward[random.IntN(len(awkward))])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(random.Int64N(1000) - 100)
	default:
		panic("the encoder knows no " + v.Type().String())
	}
}
