import tailwindcss from '@tailwindcss/vite'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

// The agent sends a policy that allows files of its own and nothing inline: no asset becomes a data: URL, and no script is
// put into the page. `npm run dev` asks an agent on port 8080 of this host.
export default defineConfig({
  plugins: [tailwindcss(), svelte()],
  build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false }, reportCompressedSize: false },
  server: { proxy: { '/api': { target: 'http://localhost:8080', changeOrigin: true } } },
  test: { include: ['test/**/*.test.ts'] },
})
