import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: 'dist',
    emptyOutDir: true, // public/.gitkeep comes back with it, so that the Go code builds without the page
    assetsInlineLimit: 0, // the page's policy allows files of its own only
    chunkSizeWarningLimit: 1500,
  },
  // npm run dev, beside a console on its usual address
  server: { proxy: { '/api': 'http://127.0.0.1:8088' } },
});
