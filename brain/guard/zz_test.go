package guard
import ("testing";"fmt";"strings";"github.com/sipio/sipio/brain/api")
func TestZZ(t *testing.T){ m:=New()
 for i:=range MaxBans { offends(t,m,start,Offence{Offence:api.Offence{Addr:fmt.Sprintf("10.%d.%d.%d",i>>16,i>>8&255,i&255),Tier:api.TierScore,Kind:api.OffenceAuthFail,Count:10,Evidence:strings.Repeat("x",0)}}) }
 t.Log(len(m.AppendSnapshot(nil)))
}
