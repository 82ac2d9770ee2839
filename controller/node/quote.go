package node

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/sipio/sipio/brain/api"
)

// pieceBytes is how much of a token an answer must hold to count as showing it, whatever is escaped in the rest.
const pieceBytes = 8

// quotable is what may be quoted of an answer: nothing when it holds a piece of the tokens that came with the order. What stands
// between here and a node, such as the error page of a tunnel, may repeat what it was sent.
func quotable(answer []byte, head http.Header) []byte {
	for _, name := range []string{"Authorization", api.HeaderAccessSecret} {
		token := strings.TrimPrefix(head.Get(name), "Bearer ")
		for i := 0; i+pieceBytes <= len(token); i++ {
			if bytes.Contains(answer, []byte(token[i:i+pieceBytes])) {
				return []byte("(it repeats a token that it was sent)")
			}
		}
	}
	return answer
}
