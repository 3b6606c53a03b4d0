#include "postgres.h"
#include "server/pool.h"
int collab_threads=1;
void PoolDo(cf_host *host, void (*body)(cf_pool*,void*), void*arg){ cf_pool*p; cf_pool_create(host,1,&p); body(p,arg); cf_pool_destroy(p);}
