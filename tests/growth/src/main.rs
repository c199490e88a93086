//! prints
fn main(){
  use failsoft_growth::{fleet::*,world::*};
  for (p,r) in [(3,100),(3,10000),(100,1000),(1000,10000)] {
    for f in [Fault::None, Fault::Lost{primaries:1,refused:true}, Fault::Lost{primaries:1,refused:false}, Fault::Lost{primaries:p/10,refused:false}] {
      let t=std::time::Instant::now();
      let l=load(Fleet{routers:r,sample:8},p,f);
      println!("{p} {r} {f:?} probes {:.1} views {:.2} bytes {:.0} mean {:.2}% worst {:.2}% hottest {:.1}% ({:?})",l.probes,l.views,l.bytes,l.mean*100.,l.worst*100.,l.hottest*100.,t.elapsed());
    }
  }
}
